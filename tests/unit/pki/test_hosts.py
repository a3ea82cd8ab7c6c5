import socket

import pytest

from pki import hosts
from pki.address import parse_host
from pki.hosts import machine_hosts


def test_a_machine_has_hosts_that_a_certificate_may_carry():
    found = machine_hosts()
    assert tuple(map(parse_host, found)) == found
    assert len(set(found)) == len(found)


def test_a_machine_is_reached_from_itself():
    assert {"localhost", "127.0.0.1", "::1"} <= set(machine_hosts())


@pytest.mark.parametrize(
    ("called", "names"),
    [
        ("Den", ("den", "den.local")),
        ("den.example.net", ("den.example.net",)),
        ("Mörike's PC", ()),
    ],
)
def test_a_machine_is_known_by_its_name(called: str, names: tuple[str, ...]):
    assert hosts._valid(hosts._names(called)) == names


def test_a_machine_has_no_address_towards_where_it_cannot_go():
    broadcast = "255.255.255.255"
    assert list(hosts._own_address(socket.AF_INET, broadcast)) == []
