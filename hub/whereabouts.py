"""Where nodes find the mesh: at the hub that serves them, and at those that would serve them in its place."""

from __future__ import annotations

from itertools import chain, zip_longest
from typing import TYPE_CHECKING

from pki.address import TOLD_MAX, Host, address, host_of, parse_address
from pki.files import HubAddresses
from pki.hosts import LOOPBACK
from pki.tokens import ADDRESSES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hub.authorities import Standing
    from hub.store.hubs import HubRow
    from pki.address import Address


class Whereabouts:
    """This hub's own addresses, best first, then those of the others; of too many, the best ones of each."""

    def __init__(self, own: HubAddresses, standing: Standing) -> None:
        self.own = own
        self._standing = standing

    @property
    def mesh(self) -> tuple[Address, ...]:
        """Of the port for who has a certificate."""
        return _hub_by_hub((self.own.mesh, *(_told(hub.mesh, self.own.mesh) for hub in self._known())))

    @property
    def enrol(self) -> tuple[Address, ...]:
        """Of the port for who wants one."""
        return _hub_by_hub(self._all_enrol())

    @property
    def enrol_in_turn(self) -> tuple[Address, ...]:
        """Of the same port, for whoever has room for a few: the best one of each hub, then each one's second."""
        return _in_turn(self._all_enrol())

    def _all_enrol(self) -> Sequence[Sequence[Address]]:
        return (self.own.enrol, *(_told(hub.enrol, self.own.enrol) for hub in self._known()))

    def _known(self) -> Iterable[HubRow]:
        known = (hub for hub in self._standing.others if hub.may_come)
        return sorted(known, key=lambda hub: not hub.is_there)


def _told(texts: Iterable[str], own: Iterable[Address]) -> tuple[Address, ...]:
    """Give what nodes are told of the addresses of a hub besides the one that has *own*.

    A machine's name for itself leads everywhere else to another machine, so it is told of a hub on the same machine, or of one
    that has no other name.
    """
    addresses = tuple(parse_address(text) for text in texts)
    hosts, own_hosts = _hosts(addresses), _hosts(own)
    if not hosts or not own_hosts or hosts & own_hosts:
        return addresses
    return tuple(each for each in addresses if host_of(each) in hosts)


def _hosts(addresses: Iterable[Address]) -> set[Host]:
    """Give the names that lead to a machine from elsewhere."""
    return {host_of(each) for each in addresses}.difference(map(Host, LOOPBACK))


def _in_turn(hubs: Iterable[Sequence[Address]]) -> tuple[Address, ...]:
    turns = chain.from_iterable(zip_longest(*hubs))
    return tuple(dict.fromkeys(each for each in turns if each is not None))[:TOLD_MAX]


def _hub_by_hub(hubs: Sequence[Sequence[Address]]) -> tuple[Address, ...]:
    chosen = frozenset(_in_turn(hubs))
    return tuple(dict.fromkeys(each for each in chain.from_iterable(hubs) if each in chosen))


def addresses_of(hosts: Sequence[Host], mesh_port: int, enrol_port: int) -> HubAddresses:
    """Give the addresses of two ports of a machine that is called *hosts*, best first."""
    named = hosts[:ADDRESSES_MAX]
    return HubAddresses(
        mesh=tuple(address(host, mesh_port) for host in named),
        enrol=tuple(address(host, enrol_port) for host in named),
    )
