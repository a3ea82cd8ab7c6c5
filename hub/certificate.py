"""The hub's own certificate: renewed at half-life without the root key, and swapped under open ports."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Final

import grpc

from hubspoke.renewal import keep_fresh
from pki.profiles import HOSTS_MAX
from pki.rotation import Stage, stage
from pki.setup import renew_gateway, renew_hub

if TYPE_CHECKING:
    from collections.abc import Callable

    from hubspoke.clock import Clock
    from pki.address import Host
    from pki.credential import StoredIdentity
    from pki.files import HubFiles

SWAP_PAUSE_S: Final = 0.05
"""gRPC uses a replaced configuration after it was freed when handshakes overlap the swap (grpc/grpc#36693).

Swapping twice a day, and letting the handshakes that began before finish first, keeps clear of that.
"""


class Certificate:
    """What both ports show."""

    def __init__(self, files: HubFiles, clock: Clock) -> None:
        self._files = files
        self._clock = clock
        self._ports: list[Port] = []
        self._identity = files.load_identity()
        now = clock.now()
        if stage(self._identity.not_before, self._identity.not_after, now) is not Stage.FRESH:
            self._identity = renew_hub(files, now=now)

    @property
    def hub_name(self) -> str:
        """The hub's name, for people."""
        return self._identity.identity.name

    def server_credentials(self, client_anchors_pem: bytes | None) -> grpc.ServerCredentials:
        """Give the credentials of one port; with *client_anchors_pem* callers must show a certificate of those."""
        port = Port(client_anchors_pem)
        self._ports.append(port)
        return grpc.dynamic_ssl_server_credentials(
            port.configuration(self._identity),
            port.fetch,  # type: ignore[arg-type]  # gRPC documents None for "no change"; the stub forgets it
            require_client_authentication=client_anchors_pem is not None,
        )

    async def keep_fresh(self, chance: Callable[[], float]) -> None:
        """Renew at half-life, for ever. *chance* gives a number in [0, 1)."""
        await keep_fresh(self._identity, self._renew, clock=self._clock, chance=chance)

    async def _renew(self) -> StoredIdentity:
        self._identity = await asyncio.to_thread(renew_hub, self._files, now=self._clock.now())
        for port in self._ports:
            port.publish(self._identity)
        return self._identity


class Port:
    """What one port shows next. gRPC asks on its own threads, at every handshake."""

    def __init__(self, client_anchors_pem: bytes | None) -> None:
        self._client_anchors_pem = client_anchors_pem
        self._next: deque[grpc.ServerCertificateConfiguration] = deque(maxlen=1)

    def configuration(self, identity: StoredIdentity) -> grpc.ServerCertificateConfiguration:
        """Give *identity* in gRPC's own form."""
        return grpc.ssl_server_certificate_configuration(
            [(identity.key_pem, identity.chain_pem)], root_certificates=self._client_anchors_pem
        )

    def publish(self, identity: StoredIdentity) -> None:
        """Show *identity* from the next handshake on."""
        self._next.append(self.configuration(identity))

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Give the next configuration once; None leaves everything as it is."""
        try:
            configuration = self._next.pop()
        except IndexError:
            return None
        time.sleep(SWAP_PAUSE_S)
        return configuration


def keep_gateway_fresh(files: HubFiles, hosts: tuple[Host, ...], clock: Clock) -> None:
    """Renew the certificate that `pki init` made for the HTTP gateway, when half of its life is over.

    The next one is for the same names and addresses, and for *hosts* as well: a machine may have got a new address.
    """
    current, now = files.load_gateway(), clock.now()
    if stage(current.not_before, current.not_after, now) is not Stage.FRESH:
        everything = tuple(dict.fromkeys((*current.hosts, *hosts)))
        renew_gateway(files, everything[:HOSTS_MAX], now=now)
