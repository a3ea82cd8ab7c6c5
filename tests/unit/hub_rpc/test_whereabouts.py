"""Where nodes are told that the hubs are."""

from dataclasses import dataclass

import pytest

from hub.store.hubs import FORGOTTEN_S, HubRow
from hub.whereabouts import Whereabouts, addresses_of
from pki.address import TOLD_MAX, Address, host_of, parse_host
from pki.hosts import LOOPBACK
from pki.tokens import ADDRESSES_MAX


@dataclass(frozen=True)
class Others:
    """The hubs that share a database with the one that is asked."""

    others: tuple[HubRow, ...]


def hub(name: str, *hosts: str, silent_s: float = 0.0) -> HubRow:
    return HubRow(
        name,
        mesh=tuple(f"{host}:7443" for host in hosts),
        enrol=tuple(f"{host}:7444" for host in hosts),
        silent_s=silent_s,
    )


def told_by(own: tuple[str, ...], *others: HubRow) -> Whereabouts:
    return Whereabouts(addresses_of([parse_host(host) for host in own], 7443, 7444), Others(others))


def at(port: int, *hosts: str) -> tuple[str, ...]:
    return tuple(f"{host}:{port}" for host in hosts)


def test_a_machine_s_name_for_itself_is_not_told_of_another_one():
    where = told_by(("box.local", "localhost"), hub("tower", "tower.local", "localhost", "127.0.0.1"))
    assert where.mesh == at(7443, "box.local", "localhost", "tower.local")
    assert where.enrol == at(7444, "box.local", "localhost", "tower.local")


@pytest.mark.parametrize(
    ("own", "other"),
    [
        (("box.local", "localhost"), ("box.local", "127.0.0.1")),  # two hubs on one machine
        (("127.0.0.1",), ("tower.local", "localhost")),
        (("box.local",), ("localhost",)),
    ],
)
def test_it_is_told_on_the_same_machine_and_where_there_is_no_other_name(
    own: tuple[str, ...], other: tuple[str, ...]
):
    assert told_by(own, hub("tower", *other)).mesh == tuple(dict.fromkeys(at(7443, *own, *other)))


def test_of_too_many_addresses_each_hub_has_its_best_ones():
    box, den, tower = (tuple(f"{name}{number}" for number in range(8)) for name in ("box", "den", "tower"))
    where = told_by(box, hub("den", *den), hub("tower", *tower))
    assert where.mesh == at(7443, *box[:6], *den[:5], *tower[:5])
    assert len(where.mesh) == TOLD_MAX
    assert where.enrol_in_turn[:ADDRESSES_MAX] == at(
        7444, "box0", "den0", "tower0", "box1", "den1", "tower1", "box2", "den2"
    )


def test_hubs_that_run_come_before_those_that_do_not_and_those_that_are_gone_are_left_out():
    rows = (hub("a", "a", silent_s=60.0), hub("b", "b"), hub("c", "c", silent_s=FORGOTTEN_S))
    assert told_by(("box",), *rows).mesh == at(7443, "box", "b", "a")


def test_the_host_of_an_address_has_no_brackets():
    assert [host_of(Address(text)) for text in ("[::1]:7443", "localhost:1", "127.0.0.1:80")] == [
        LOOPBACK[2],
        *LOOPBACK[:2],
    ]
