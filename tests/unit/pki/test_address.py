import pytest

from pki.address import address, parse_address, parse_host
from pki.errors import BadAddress


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("den", "den"),
        ("DEN.Local", "den.local"),
        ("my_pc", "my_pc"),
        ("192.168.1.5", "192.168.1.5"),
        ("FD00::5", "fd00::5"),
        ("fd00:0:0:0:0:0:0:5", "fd00::5"),
    ],
)
def test_a_host_has_one_spelling(text: str, host: str):
    assert parse_host(text) == host


@pytest.mark.parametrize(
    "text",
    ["", ".", "den.", "-den", "*.local", "den local", "1.2.3.4.5", "1.2.3", "fe80::1%eth0", "dén", "a" * 254],
)
def test_what_is_no_host_is_refused(text: str):
    with pytest.raises(BadAddress):
        parse_host(text)


@pytest.mark.parametrize("text", ["den.local:7443", "192.168.1.5:7443", "[fd00::5]:65535"])
def test_an_address_is_a_host_and_a_port(text: str):
    assert parse_address(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "den",
        ":7443",
        "den:",
        "den:0",
        "den:07443",
        "den:65536",
        "den:x",
        "fd00::5:7443",
        "[fd00::5]",
        "[den]:7443",
        "[192.168.1.5]:7443",
        "https://den:7443",
        "den:7443/x",
        "den:7443\n",
    ],
)
def test_what_is_no_address_is_refused(text: str):
    with pytest.raises(BadAddress):
        parse_address(text)


def test_an_ipv6_host_is_put_in_brackets():
    assert address(parse_host("fd00::5"), 7443) == "[fd00::5]:7443"
