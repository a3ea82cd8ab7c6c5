"""What counts as one address on the enrol port."""

import pytest

from hub.rpc.limits import network


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.168.1.7", "192.168.1.7"),
        ("::ffff:192.168.1.7", "192.168.1.7"),
        ("fd00:1:2:3:4:5:6:7", "fd00:1:2:3::"),
        ("fd00:1:2:3::1", "fd00:1:2:3::"),
        ("fe80::1%eth0", "fe80::"),
        ("/run/hubspoke.sock", "/run/hubspoke.sock"),
        ("", ""),
    ],
)
def test_a_machine_with_many_addresses_counts_once(address: str, counted: str):
    assert network(address) == counted
