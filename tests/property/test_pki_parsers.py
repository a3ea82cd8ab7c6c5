"""Whatever comes in, a parser returns a value that it would write the same way, or raises its own error."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from pki import pem
from pki.address import parse_address, parse_host
from pki.authority import create_root
from pki.bundle import parse_anchors, parse_chain
from pki.credential import Credential, StoredIdentity
from pki.errors import BadAddress, BadBundle, BadCsr, BadIdentity, BadKey, BadToken, PeerRefused
from pki.identity import Identity, Role, node_name, parse_uri
from pki.keys import certificate_request, key_from_pem, key_to_pem, new_key
from pki.lifetime import Stage, renew_at, stage
from pki.policy import check_csr, identity_of, read_peer
from pki.tokens import JoinToken

NOW = datetime(2030, 6, 1, tzinfo=UTC)
ROOT = create_root(now=NOW)
ISSUER = ROOT.create_node_issuer(now=NOW)
KEY = new_key()
DEN = Identity(Role.SPOKE, node_name("den"))
CHAIN = ISSUER.issue_node(KEY.public_key(), DEN, now=NOW)
TOKEN = JoinToken.mint(ROOT.certificate, [parse_address("den.local:7444")])

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
hosts = (
    st.from_regex(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True)
    | st.ip_addresses(v=4).map(str)
    | st.ip_addresses(v=6).map(lambda ip: f"[{ip}]")
)
addresses = st.builds("{}:{}".format, hosts, st.integers(1, 65_535))


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Overwrite, insert or drop some bytes of *whole*."""
    start = draw(st.integers(0, len(whole)))
    end = draw(st.integers(start, min(len(whole), start + 8)))
    return whole[:start] + draw(st.binary(max_size=8)) + whole[end:]


@given(st.sampled_from(Role), names)
def test_every_identity_survives_its_uri(role: Role, name: str):
    identity = Identity(role, node_name(name))
    assert parse_uri(identity.uri) == identity


@given(st.text() | damaged(DEN.uri.encode()).map(lambda raw: raw.decode(errors="replace")))
def test_a_uri_that_parses_is_written_the_same_way(text: str):
    with suppress(BadIdentity):
        assert parse_uri(text).uri == text


@given(st.text())
def test_a_host_that_parses_stays_as_it_is(text: str):
    with suppress(BadAddress):
        assert parse_host(parse_host(text)) == parse_host(text)


@given(st.text() | addresses)
def test_an_address_that_parses_stays_as_it_is(text: str):
    with suppress(BadAddress):
        assert parse_address(parse_address(text)) == parse_address(text)


@given(st.lists(addresses, min_size=1, max_size=3))
def test_every_token_survives_its_text(texts: list[str]):
    token = JoinToken.mint(ROOT.certificate, [parse_address(text) for text in texts])
    assert JoinToken.parse(token.text) == token


@given(st.text() | damaged(TOKEN.text.encode()).map(lambda raw: raw.decode(errors="replace")))
def test_a_token_is_whole_or_refused(text: str):
    with suppress(BadToken):
        assert JoinToken.parse(text) == TOKEN


@given(st.binary(max_size=300) | damaged(certificate_request(KEY)))
def test_a_certificate_request_is_good_or_refused(der: bytes):
    with suppress(BadCsr):
        assert check_csr(der) == KEY.public_key()


@given(st.binary(max_size=300) | damaged(pem.write((ROOT.certificate, ISSUER.certificate))))
def test_anchors_are_authorities_or_refused(text: bytes):
    with suppress(BadBundle):
        assert len(parse_anchors(text, now=NOW)) <= 2


@given(st.binary(max_size=300) | damaged(CHAIN.pem))
def test_a_chain_is_whole_or_refused(text: bytes):
    with suppress(BadBundle):
        chain = parse_chain(text)
        assert chain.leaf.public_key() == KEY.public_key()


@given(st.binary(max_size=300) | damaged(Credential(KEY, CHAIN).pem))
def test_a_credential_is_whole_or_refused(text: bytes):
    with suppress(BadBundle, BadKey):
        assert Credential.parse(text).key_pem == key_to_pem(KEY)


@given(damaged(key_to_pem(KEY)))
def test_a_key_is_a_key_or_refused(text: bytes):
    with suppress(BadKey):
        key_from_pem(text)


@given(damaged(CHAIN.leaf.public_bytes(Encoding.DER)))
def test_a_certificate_that_loads_is_a_peer_or_refused(der: bytes):
    with suppress(ValueError, x509.InvalidVersion):
        certificate = x509.load_der_x509_certificate(der)
        with suppress(PeerRefused):
            assert read_peer(certificate).identity
        with suppress(BadIdentity):
            assert identity_of(certificate)


@given(st.floats(0, 1), st.timedeltas(timedelta(seconds=1), timedelta(days=4000)))
def test_renewal_comes_when_it_is_due_and_before_it_is_late(chance: float, life: timedelta):
    moment = renew_at(NOW, NOW + life, chance)
    assert stage(NOW, NOW + life, moment + timedelta(microseconds=1)) is Stage.DUE


def test_the_sample_is_good():
    assert StoredIdentity.of(Credential(KEY, CHAIN)).identity == DEN
