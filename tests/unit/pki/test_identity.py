import pytest

from pki.errors import BadIdentity
from pki.identity import NAME_CHARS_MAX, Identity, NodeName, Role, node_name, parse_uri


@pytest.mark.parametrize("name", ["a", "0", "den", "gaming-pc-2", "a" * NAME_CHARS_MAX])
def test_a_dns_label_in_lower_case_is_a_name(name: str):
    assert node_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "-den", "den-", "Den", "den.local", "den_1", "dén", "den\n", "a" * (NAME_CHARS_MAX + 1), "../x"],
)
def test_anything_else_is_no_name(name: str):
    with pytest.raises(BadIdentity):
        node_name(name)


def test_an_identity_is_written_as_a_spiffe_uri():
    assert Identity(Role.SPOKE, node_name("den")).uri == "spiffe://hubspoke.internal/spoke/den"


def test_an_identity_with_a_name_that_nobody_checked_cannot_be_made():
    with pytest.raises(BadIdentity):
        Identity(Role.SPOKE, NodeName("../admin/root"))


@pytest.mark.parametrize("role", Role)
def test_a_uri_is_read_back_as_it_was_written(role: Role):
    identity = Identity(role, node_name("den-2"))
    assert parse_uri(identity.uri) == identity


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe://hubspoke.internal",
        "spiffe://hubspoke.internal/spoke",
        "spiffe://hubspoke.internal/spoke/",
        "spiffe://hubspoke.internal/spoke/den/",
        "spiffe://hubspoke.internal/spoke/den/x",
        "spiffe://hubspoke.internal//spoke/den",
        "spiffe://hubspoke.internal/Spoke/den",
        "spiffe://hubspoke.internal/spoke/Den",
        "SPIFFE://hubspoke.internal/spoke/den",
        "spiffe://HUBSPOKE.internal/spoke/den",
        "spiffe://hubspoke.internal./spoke/den",
        "spiffe://hubspokeXinternal/spoke/den",
        "spiffe://other.internal/spoke/den",
        "spiffe://hubspoke.internal:443/spoke/den",
        "spiffe://root@hubspoke.internal/spoke/den",
        "spiffe://hubspoke.internal/spoke/den?role=admin",
        "spiffe://hubspoke.internal/spoke/den#admin",
        "spiffe://hubspoke.internal/spoke%2fden",
        "spiffe://hubspoke.internal/spoke/d%65n",
        "spiffe://hubspoke.internal/spoke/../admin/den",
        "spiffe://hubspoke.internal/spoke/..",
        "spiffe://hubspoke.internal/janitor/den",
        "https://hubspoke.internal/spoke/den",
        "spiffe://hubspoke.internal/spoke/den\n",
        "spiffe://hubspoke.internal/spoke/den\0",
        " spiffe://hubspoke.internal/spoke/den",
        "spiffe://hubspoke.internal/spoke/" + "a" * (NAME_CHARS_MAX + 1),
    ],
)
def test_a_uri_has_one_spelling_and_every_other_is_refused(uri: str):
    with pytest.raises(BadIdentity):
        parse_uri(uri)


def test_a_stranger_cannot_fill_the_log_with_a_long_uri():
    with pytest.raises(BadIdentity) as refused:
        parse_uri("spiffe://" + "x" * 1_000_000)
    assert len(str(refused.value)) < 400
