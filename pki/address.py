"""Where a hub is reached: hosts and host:port, checked once and spelled in one way."""

import ipaddress
import re
from typing import NewType

from pki.errors import BadAddress

HOST_CHARS_MAX = 253
PORT_MAX = 65_535

TOLD_MAX = 16
"""Addresses of one port that a hub tells, and a node takes."""

Host = NewType("Host", str)
"""A DNS name in lower case, or an IP address in its canonical form without brackets."""

Address = NewType("Address", str)
"""A host and a port: `name:7443`, `192.168.1.5:7443` or `[fd00::5]:7443`."""

# RFC 1123, and the underscore that some home routers and Windows put into host names.
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9a-f.]*:[0-9a-f:.]*)\]|(?P<host>[^\[\]:]+)):(?P<port>[1-9][0-9]{0,4})")


def parse_host(text: str) -> Host:
    """Return *text* as a host, or raise `BadAddress`.

    A zone (`fe80::1%eth0`) is refused: it means something on one machine only.
    """
    host = text.lower()
    ip = _ip(host)
    if ip is not None:
        return Host(str(ip))
    # A last label of digits alone would be read as an IPv4 address by half of all resolvers.
    if len(host) > HOST_CHARS_MAX or not _NAME.fullmatch(host) or host.rpartition(".")[2].isdigit():
        raise BadAddress(f"{text[:HOST_CHARS_MAX]!r} is not a host name or an IP address")
    return Host(host)


def parse_address(text: str) -> Address:
    """Return *text* as a host and a port, or raise `BadAddress`."""
    match = _ADDRESS.fullmatch(text.lower())
    if match is None or int(match["port"]) > PORT_MAX:
        raise BadAddress(f"{text[:HOST_CHARS_MAX]!r} is not a host and a port")
    return address(parse_host(match["v6"] or match["host"]), int(match["port"]))


def address(host: Host, port: int) -> Address:
    """Write *host* and *port* as one."""
    return Address(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def host_of(reached: Address) -> Host:
    """Give the host of an address."""
    return Host(reached.rpartition(":")[0].strip("[]"))


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if "%" in text:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
