"""The hub's own certificate: renewed at half-life without the root key, and swapped under open ports."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Final

import grpc

from hubspoke.renewal import keep_fresh
from pki.lifetime import Stage, stage
from pki.profiles import HOSTS_MAX
from pki.setup import is_issuer_in_use, renew_gateway, renew_hub

if TYPE_CHECKING:
    from collections.abc import Callable

    from hubspoke.clock import Clock
    from pki.address import Host
    from pki.credential import StoredIdentity
    from pki.files import HubFiles

SWAP_PAUSE_S: Final = 0.05
"""Given to handshakes that began before a swap, so that they end on what they began with.

gRPC uses a replaced configuration after it was freed when a handshake is being made during the swap (grpc/grpc#36693).
"""

SWAP_INTERVAL_S: Final = 1.0
"""Least time between two swaps of a port, for the same reason. With the pause alone 200 handshakes at once survive twenty swaps
within a second (`tests/mesh/storm.py`); the exchange of a root needs three."""


class Certificate:
    """What both ports show, and whose certificates the mesh port takes."""

    def __init__(self, files: HubFiles, clock: Clock) -> None:
        self._files = files
        self._clock = clock
        self._ports: list[Port] = []
        self._swapping = asyncio.Lock()
        self._identity = files.load_identity()
        now = clock.now()
        is_fresh = stage(self._identity.not_before, self._identity.not_after, now) is Stage.FRESH
        if not is_fresh or not is_issuer_in_use(files, self._identity.chain_pem):
            self._identity = renew_hub(files, now=now)

    @property
    def identity(self) -> StoredIdentity:
        """Who the hub is, as it shows now."""
        return self._identity

    def server_credentials(self, clients_pem: bytes | None) -> grpc.ServerCredentials:
        """Give the credentials of one port; with *clients_pem* callers must show a certificate of those."""
        port = Port(self._identity, clients_pem, self._clock)
        self._ports.append(port)
        return grpc.dynamic_ssl_server_credentials(
            port.configuration,
            port.fetch,  # type: ignore[arg-type]  # gRPC documents None for "no change"; the stub forgets it
            require_client_authentication=clients_pem is not None,
        )

    async def keep_fresh(self, chance: Callable[[], float]) -> None:
        """Renew at half-life, for ever. *chance* gives a number in [0, 1)."""
        await keep_fresh(self._identity, self._renew, clock=self._clock, chance=chance)

    async def show(self, clients_pem: bytes) -> None:
        """Take the certificates of *clients_pem*, and show one of the issuer in use.

        Every handshake that begins after this has returned does so.
        """
        async with self._swapping:
            chain_pem = self._identity.chain_pem
            if not await asyncio.to_thread(is_issuer_in_use, self._files, chain_pem):
                self._identity = await asyncio.to_thread(renew_hub, self._files, now=self._clock.now())
            for port in self._ports:
                port.publish(self._identity, clients_pem)
            for port in self._ports:
                await port.settled()

    async def _renew(self) -> StoredIdentity:
        async with self._swapping:
            self._identity = await asyncio.to_thread(renew_hub, self._files, now=self._clock.now())
            for port in self._ports:
                port.publish(self._identity)
        return self._identity


class Port:
    """What one port shows next. gRPC asks on its own threads, at every handshake."""

    def __init__(self, identity: StoredIdentity, clients_pem: bytes | None, clock: Clock) -> None:
        self._clock = clock
        self._shown = (identity.chain_pem, clients_pem)
        self._clients_pem = clients_pem
        self.configuration = _configuration(identity, clients_pem)
        """What it shows at first."""
        self._next: deque[grpc.ServerCertificateConfiguration] = deque(maxlen=1)
        self._may_swap_at = clock.monotonic()

    def publish(self, identity: StoredIdentity, clients_pem: bytes | None = None) -> None:
        """Show *identity*, and take the certificates of *clients_pem* where any are taken, as soon as a swap may be."""
        if self._clients_pem is not None:
            self._clients_pem = clients_pem or self._clients_pem
        shown = (identity.chain_pem, self._clients_pem)
        if shown != self._shown:
            self._next.append(_configuration(identity, self._clients_pem))
            self._shown = shown

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Give the next configuration once; None leaves everything as it is."""
        if not self._next or self._clock.monotonic() < self._may_swap_at:
            return None
        configuration = self._next.pop()
        self._may_swap_at = self._clock.monotonic() + SWAP_INTERVAL_S
        time.sleep(SWAP_PAUSE_S)
        return configuration

    async def settled(self) -> None:
        """Wait until the next handshake brings what was published."""
        if self._next:
            await asyncio.sleep(self._may_swap_at - self._clock.monotonic())


def keep_gateway_fresh(files: HubFiles, hosts: tuple[Host, ...], clock: Clock) -> None:
    """Renew the certificate that the HTTP gateway shows, when half of its life is over or its issuer has been exchanged.

    The next one is for the same names and addresses, and for *hosts* as well: a machine may have got a new address.
    """
    current, now = files.load_gateway(), clock.now()
    is_fresh = stage(current.not_before, current.not_after, now) is Stage.FRESH
    if not is_fresh or not is_issuer_in_use(files, current.chain_pem):
        everything = tuple(dict.fromkeys((*current.hosts, *hosts)))
        renew_gateway(files, everything[:HOSTS_MAX], now=now)


def _configuration(
    identity: StoredIdentity, clients_pem: bytes | None
) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(identity.key_pem, identity.chain_pem)], root_certificates=clients_pem
    )
