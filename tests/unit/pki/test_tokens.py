import hashlib

import pytest

from pki import tokens
from pki.address import Address, parse_address
from pki.errors import BadAddress, BadBundle, BadToken
from pki.keys import new_key
from pki.tokens import ADDRESSES_MAX, SECRET_BYTES, TOKEN_CHARS_MAX, JoinToken, secret_hash
from tests.fakes.certs import Mesh

ADDRESSES = tuple(map(parse_address, ("den.local:7444", "192.168.1.5:7444", "[fd00::5]:7444")))


@pytest.fixture(scope="module")
def token(mesh: Mesh) -> JoinToken:
    return JoinToken.mint(mesh.root.certificate, ADDRESSES)


def resealed(token: JoinToken, part: int, value: str) -> str:
    """Put *value* in place of a part, with the checksum that goes with it: a defect of whoever minted it."""
    parts = token.text.split(".")[:-1]
    parts[part] = value
    body = ".".join(parts)
    return f"{body}.{tokens._checksum(body)}"


def test_a_token_is_read_back_as_it_was_written(token: JoinToken):
    assert JoinToken.parse(token.text) == token


def test_a_token_carries_the_trust_anchor_and_where_to_go(token: JoinToken, mesh: Mesh):
    assert token.root == mesh.root.certificate
    assert token.addresses == ADDRESSES


def test_two_tokens_share_neither_id_nor_secret(token: JoinToken, mesh: Mesh):
    other = JoinToken.mint(mesh.root.certificate, ADDRESSES)
    assert other.id != token.id
    assert other.secret != token.secret
    assert len(token.secret) == SECRET_BYTES


def test_a_token_fits_into_one_line_of_a_terminal(mesh: Mesh):
    longest = tuple(Address(f"{'a' * 15}{n}.local:7444") for n in range(ADDRESSES_MAX))
    assert len(JoinToken.mint(mesh.root.certificate, longest).text) <= TOKEN_CHARS_MAX


def test_a_token_does_not_print_its_secret(token: JoinToken):
    secret = token.text.split(".")[2]
    assert "secret=..." in repr(token)
    assert secret not in repr(token)
    assert repr(token.secret) not in repr(token)


def test_a_token_wrapped_by_a_mail_program_is_still_whole(token: JoinToken):
    wrapped = "\r\n".join(token.text[start : start + 72] for start in range(0, len(token.text), 72))
    assert JoinToken.parse(f"  {wrapped}\n") == token


def test_a_token_cut_anywhere_is_refused_before_anything_is_sent(token: JoinToken):
    for end in range(len(token.text)):
        with pytest.raises(BadToken):
            JoinToken.parse(token.text[:end])


def test_a_token_edited_anywhere_is_refused_before_anything_is_sent(token: JoinToken):
    for place, letter in enumerate(token.text):
        other = "B" if letter == "A" else "A"
        with pytest.raises(BadToken):
            JoinToken.parse(token.text[:place] + other + token.text[place + 1 :])


@pytest.mark.parametrize(
    "text", ["", "junk", "hs2.a.b.c.d.e", "hs1", "hs1.....", "hs1.é", "hs1.\ud800", "hs1." + "x" * 1_000_000]
)
def test_what_is_no_token_is_refused(text: str):
    with pytest.raises(BadToken):
        JoinToken.parse(text)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        (1, "0" * 11),
        (1, "0" * 11 + "G"),
        (2, "AAAA"),
        (2, "A" * 42 + "B"),
        (2, "A" * 42 + "+"),
        (2, "A" * 41),
        (3, ""),
        (3, "AAAA"),
        (4, ""),
        (4, "ZGVu"),
        (4, "__79"),
    ],
    ids=[
        "short id",
        "id not hex",
        "short secret",
        "another spelling of Base64",
        "another alphabet of Base64",
        "no Base64",
        "no certificate",
        "junk certificate",
        "no address",
        "no port",
        "no ASCII",
    ],
)
def test_a_token_that_was_wrong_from_the_start_is_refused(token: JoinToken, part: int, value: str):
    with pytest.raises(BadToken):
        JoinToken.parse(resealed(token, part, value))


def test_a_token_whose_anchor_is_no_authority_is_refused(token: JoinToken, mesh: Mesh):
    leaf = mesh.hub_issuer.issue_gateway(new_key().public_key(), ["den.local"], now=mesh.now).leaf
    with pytest.raises(BadBundle):
        JoinToken.mint(leaf, ADDRESSES)
    fake = JoinToken(token.id, token.secret, leaf, ADDRESSES)
    with pytest.raises(BadToken):
        JoinToken.parse(fake.text)


def test_a_token_with_too_many_addresses_is_refused(token: JoinToken, mesh: Mesh):
    many = (Address("a:1"),) * (ADDRESSES_MAX + 1)
    with pytest.raises(BadToken):
        JoinToken.parse(JoinToken(token.id, token.secret, token.root, many).text)
    with pytest.raises(BadAddress):
        JoinToken.mint(mesh.root.certificate, many)


@pytest.mark.parametrize("addresses", [(), (Address("a" * 250 + ":7444"),) * 2])
def test_a_token_for_nowhere_or_too_long_for_a_line_is_not_minted(mesh: Mesh, addresses: tuple[Address, ...]):
    with pytest.raises(BadAddress):
        JoinToken.mint(mesh.root.certificate, addresses)


def test_the_hub_keeps_a_digest_of_the_secret(token: JoinToken):
    assert secret_hash(token.secret) == hashlib.sha256(token.secret).digest()
