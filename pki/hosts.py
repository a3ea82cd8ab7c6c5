"""What this machine is called, as others on the network may type it."""

import socket
from collections.abc import Iterable, Iterator

from pki.address import Host, parse_host
from pki.errors import BadAddress

LOOPBACK = ("localhost", "127.0.0.1", "::1")

# Documentation addresses. Connecting a UDP socket sends nothing; it only asks the system which of
# its own addresses it would use.
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
_ANY_PORT = 9


def machine_hosts() -> tuple[Host, ...]:
    """Return the names and addresses under which the gateway is reached, best first, each once.

    The host name, its `.local` name (mDNS), the addresses on the network, and loopback. What no
    certificate may carry is left out.
    """
    own = [address for family, elsewhere in _ELSEWHERE for address in _own_address(family, elsewhere)]
    return _valid((*_names(socket.gethostname()), *own, *LOOPBACK))


def _names(host_name: str) -> tuple[str, ...]:
    return (host_name,) if "." in host_name else (host_name, f"{host_name}.local")


def _own_address(family: socket.AddressFamily, elsewhere: str) -> Iterator[str]:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, _ANY_PORT))
            yield str(probe.getsockname()[0])
    except OSError:
        return  # No network of this family: then nobody comes that way either.


def _valid(texts: Iterable[str]) -> tuple[Host, ...]:
    hosts: dict[Host, None] = {}
    for text in texts:
        try:
            hosts[parse_host(text)] = None
        except BadAddress:
            continue
    return tuple(hosts)
