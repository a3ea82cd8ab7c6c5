"""Where nodes find the mesh: at the hub that serves them, and at those that would serve them in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pki.address import address, parse_address
from pki.files import HubAddresses
from pki.tokens import ADDRESSES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hub.authorities import Standing
    from hub.store.hubs import HubRow
    from pki.address import Address, Host

TOLD_MAX: Final = 16
"""Addresses of one port that nodes take."""


class Whereabouts:
    """This hub's own addresses, best first, then those of the others."""

    def __init__(self, own: HubAddresses, standing: Standing) -> None:
        self.own = own
        self._standing = standing

    @property
    def mesh(self) -> tuple[Address, ...]:
        """Of the port for who has a certificate."""
        return self._all(self.own.mesh, (hub.mesh for hub in self._known()))

    @property
    def enrol(self) -> tuple[Address, ...]:
        """Of the port for who wants one."""
        return self._all(self.own.enrol, (hub.enrol for hub in self._known()))

    def _known(self) -> Iterable[HubRow]:
        return (hub for hub in self._standing.others if hub.may_come)

    def _all(self, own: Sequence[Address], others: Iterable[Sequence[str]]) -> tuple[Address, ...]:
        more = (parse_address(text) for texts in others for text in texts)
        return tuple(dict.fromkeys((*own, *more)))[:TOLD_MAX]


def addresses_of(hosts: Sequence[Host], mesh_port: int, enrol_port: int) -> HubAddresses:
    """Give the addresses of two ports of a machine that is called *hosts*, best first."""
    named = hosts[:ADDRESSES_MAX]
    return HubAddresses(
        mesh=tuple(address(host, mesh_port) for host in named),
        enrol=tuple(address(host, enrol_port) for host in named),
    )
