"""What strangers send before anybody knows them, and what lies on disks: every parser returns, or raises its own error."""

import warnings
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning

from hubspoke.auditlog.chain import START, Flaw, Link, follow, read, seal
from hubspoke.auditlog.files import parse_head
from pki.address import parse_address, parse_host
from pki.bundle import parse_anchors, parse_chain, require_anchored
from pki.credential import Credential, StoredIdentity
from pki.errors import (
    BadAddress,
    BadBundle,
    BadCsr,
    BadIdentity,
    BadKey,
    BadToken,
    PeerRefused,
    WrongPassphrase,
)
from pki.identity import node_name, parse_uri
from pki.keys import key_from_pem, key_to_pem
from pki.policy import check_csr, identity_of, read_leaf
from pki.tokens import JoinToken, TokenId, _checksum
from tests.fuzz.draw import Draw
from tests.fuzz.samples import ISSUER, KEY, LEAF, NOW, REQUEST, ROOT

EDITS_MAX: Final = 4
SLICE_BYTES_MAX: Final = 24

# What DER has a meaning for: tags, lengths that are long, endless or nothing, and the object identifiers of ours.
DER_PIECES: Final = (
    b"\x30\x80",
    b"\x30\x00",
    b"\x30\x84\xff\xff\xff\xff",
    b"\x02\x01\x00",
    b"\x05\x00",
    b"\x06\x03\x55\x1d\x11",
    b"\x06\x03\x55\x1d\x25",
    b"\x06\x03\x55\x1d\x13",
    b"\x17\x0d991231235959Z",
    b"\x18\x0f00000101000000Z",
    b"\x18\x0f99991231235959Z",
    b"\x86\x00",
    b"\x82\x01\xff",
    b"\xa0\x03\x02\x01\x7f",
    b"\xff" * 8,
    b"\x00" * 8,
)
TEXT_PIECES: Final = (
    *(
        b".",
        b"..",
        b"/",
        b"%2f",
        b"?",
        b"#",
        b"@",
        b":",
        b"-",
        b"\n",
        b"\r\n",
        b"\x00",
        b" ",
        b"A",
        b"\xc3\xa9",
    ),
    *(
        b"[",
        b"]",
        b"::1",
        b"hs1.",
        b"spiffe://",
        b"hub",
        b"admin",
        b"=",
        b"==",
        b"-----",
        b'"',
        b"\\",
        b"{",
        b"}",
    ),
)
TOKEN: Final = JoinToken(
    TokenId("0123456789ab"),
    bytes(range(32)),
    x509.load_der_x509_certificate(ROOT),
    (parse_address("den.local:7444"), parse_address("[fd00::5]:7444")),
)
LINES: Final = tuple(
    seal(Link(number, START.hash), "2030-06-01T00:00:00.000Z", "cert.renew", {"node": "den"})[0]
    for number in (0, 7, 2**63)
)


def pem(label: bytes, der: bytes) -> bytes:
    """Write any bytes as a block of PEM."""
    return b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (label, b64encode(der), label)


CERTIFICATE: Final = b"CERTIFICATE"
KEY_PEM: Final = key_to_pem(KEY)


def edited(draw: Draw, whole: bytes, pieces: Sequence[bytes]) -> bytes:
    """Change, cut, double and fill in, a few times."""
    for _ in range(draw.byte() % (EDITS_MAX + 1)):
        start = draw.whole(len(whole) + 1)
        end = min(len(whole), start + draw.byte() % SLICE_BYTES_MAX)
        match draw.byte() % 5:
            case 0:
                new = bytes([draw.byte()])
                end = start + 1
            case 1:
                new = b""
            case 2:
                new = whole[start:end] * 2
            case 3:
                new = draw.one_of(pieces)
            case _:
                new, end = draw.one_of(pieces), start
        whole = whole[:start] + new + whole[end:]
    return whole


def tokens(data: bytes) -> None:
    """A pasted token, as it is or with its checksum made right again, so that what is behind that is reached."""
    draw = Draw(data)
    if draw.flag():
        text = edited(draw, TOKEN.text.encode(), TEXT_PIECES).decode(errors="replace")
        with suppress(BadToken):
            assert JoinToken.parse(text) == TOKEN
        return
    parts = [
        edited(draw, TOKEN.id.encode(), TEXT_PIECES),
        _armoured(edited(draw, TOKEN.secret, DER_PIECES)),
        _armoured(edited(draw, ROOT, DER_PIECES)),
        _armoured(edited(draw, ",".join(TOKEN.addresses).encode(), TEXT_PIECES)),
    ]
    body = b".".join([b"hs1", *parts]).decode(errors="replace")
    with suppress(BadToken):
        token = JoinToken.parse(f"{body}.{_checksum(body)}")
        assert JoinToken.parse(token.text) == token
        assert "..." in repr(token)


def _armoured(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def requests(data: bytes) -> None:
    """A certificate request."""
    draw = Draw(data)
    der = edited(draw, draw.one_of((REQUEST, LEAF, b"")), DER_PIECES)
    with suppress(BadCsr):
        assert check_csr(der) == KEY.public_key(), "a request that was changed is signed by nobody"


def names(data: bytes) -> None:
    """A SPIFFE URI, the name of a node, a host and an address."""
    draw = Draw(data)
    uri = edited(draw, b"spiffe://hubspoke.internal/spoke/den", TEXT_PIECES).decode(errors="replace")
    with suppress(BadIdentity):
        assert parse_uri(uri).uri == uri
    text = draw.text()
    with suppress(BadIdentity):
        assert node_name(text) == text
    with suppress(BadAddress):
        assert parse_host(parse_host(text)) == parse_host(text)
    address = edited(draw, b"[fd00::5]:7444", TEXT_PIECES).decode(errors="replace")
    with suppress(BadAddress):
        assert parse_address(parse_address(address)) == parse_address(address)


def bundles(data: bytes) -> None:
    """Anchors, a chain, and key and chain in one file."""
    draw = Draw(data)
    blocks = [
        pem(CERTIFICATE, edited(draw, draw.one_of((LEAF, ISSUER, ROOT)), DER_PIECES))
        for _ in range(draw.byte() % 4)
    ]
    text = edited(draw, b"".join(blocks), TEXT_PIECES) if draw.rarely() else b"".join(blocks)
    with suppress(BadBundle):
        anchors = parse_anchors(text, now=NOW)
        assert anchors
        require_anchored(parse_chain(pem(CERTIFICATE, LEAF) + pem(CERTIFICATE, ISSUER)), anchors)
    with suppress(BadBundle):
        assert parse_chain(text).leaf
    key = edited(draw, KEY_PEM, TEXT_PIECES) if draw.flag() else KEY_PEM
    with suppress(BadBundle, BadKey, WrongPassphrase, BadIdentity):
        stored = StoredIdentity.of(Credential.parse(key + text))
        assert "PRIVATE" not in repr(stored)
    with suppress(BadKey, WrongPassphrase):
        key_from_pem(key)


def peers(data: bytes) -> None:
    """The certificate of whoever calls, as gRPC hands it over."""
    draw = Draw(data)
    der = edited(draw, draw.one_of((LEAF, ISSUER)), DER_PIECES)
    text = pem(CERTIFICATE, der)
    shown = edited(draw, text, TEXT_PIECES) if draw.rarely() else text
    with suppress(PeerRefused):
        peer = read_leaf(shown)
        assert parse_uri(peer.identity.uri) == peer.identity
        assert int(peer.serial_hex, 16) > 0
    with suppress(ValueError, x509.InvalidVersion):
        certificate = x509.load_der_x509_certificate(der)
        assert certificate.public_bytes(Encoding.DER)
        with suppress(BadIdentity):
            identity_of(certificate)


def audit(data: bytes) -> None:
    """A line of an audit log, and the word of where the log ends."""
    draw = Draw(data)
    sealed = draw.one_of(LINES)
    line = edited(draw, sealed[:-1], TEXT_PIECES)
    for before in (None, START, Link(7, START.hash)):
        found = follow(before, line)
        assert isinstance(found, Flaw) or line == sealed[:-1]
    assert read(sealed[:-1])
    parse_head(edited(draw, b"%020d %b\n" % (7, START.hash.encode()), TEXT_PIECES))


def unwarned(target: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Let *target* meet certificates that the library reads today, with a warning, and will refuse one day."""

    @wraps(target)
    def met(data: bytes) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            target(data)

    return met


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "tokens": unwarned(tokens),
    "requests": unwarned(requests),
    "names": names,
    "bundles": unwarned(bundles),
    "peers": unwarned(peers),
    "audit": audit,
}
