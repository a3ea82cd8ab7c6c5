"""Join tokens: one pasted line that lets one machine in, once.

    hs1.<id>.<secret>.<root certificate>.<enrol addresses>.<checksum>

The line carries the whole trust anchor, not a hash of it, so a node verifies the hub before it says
anything; and it carries the addresses, so nobody types a host. The hub keeps a digest of the secret.
"""

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NewType, Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pki.address import Address, parse_address
from pki.bundle import require_authority
from pki.errors import BadAddress, BadBundle, BadToken

VERSION = "hs1"
ID_BYTES = 6
SECRET_BYTES = 32
ADDRESSES_MAX = 8
# The terminal of macOS hands a program at most 1,024 bytes of a pasted line.
TOKEN_CHARS_MAX = 1_000
# Against a slip of the hand, not against an attacker: 48 bits.
CHECKSUM_BYTES = 6

TokenId = NewType("TokenId", str)

_ID = re.compile(rf"[0-9a-f]{{{2 * ID_BYTES}}}")
_PARTS = 6


@dataclass(frozen=True, slots=True)
class JoinToken:
    """What a machine needs to join: whom to trust, where to go, and the right to."""

    id: TokenId
    secret: bytes
    root: x509.Certificate
    addresses: tuple[Address, ...]

    def __repr__(self) -> str:
        return f"JoinToken(id={self.id!r}, secret=..., addresses={self.addresses!r})"

    @classmethod
    def mint(cls, root: x509.Certificate, addresses: Sequence[Address]) -> Self:
        """Make a token with a fresh id and secret.

        Raises `BadAddress` for no address or for so many that the line would not fit a terminal, and
        `BadBundle` for a *root* that is no authority's.
        """
        require_authority(root)
        token = cls(
            id=TokenId(secrets.token_hex(ID_BYTES)),
            secret=secrets.token_bytes(SECRET_BYTES),
            root=root,
            addresses=tuple(addresses),
        )
        if not 1 <= len(addresses) <= ADDRESSES_MAX or len(token.text) > TOKEN_CHARS_MAX:
            raise BadAddress(
                f"a token holds 1 to {ADDRESSES_MAX} addresses and {TOKEN_CHARS_MAX} characters in all"
            )
        return token

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a pasted token, or raise `BadToken` before anything is sent anywhere.

        White space is dropped wherever it stands: mail programs wrap long lines.
        """
        line = "".join(text[: 2 * TOKEN_CHARS_MAX].split())
        parts = line.split(".")
        if parts[0] != VERSION:
            raise BadToken(f"this is not a join token: one begins with {VERSION!r}")
        if len(line) > TOKEN_CHARS_MAX:
            raise BadToken(f"the token has more than {TOKEN_CHARS_MAX} characters")
        body, _, checksum = line.rpartition(".")
        if len(parts) != _PARTS or checksum != _checksum(body):
            raise BadToken("the token is not whole: its checksum does not match")
        _, id_, secret, root, addresses, _ = parts
        return cls(_token_id(id_), _secret(secret), _root(root), _addresses(addresses))

    @property
    def text(self) -> str:
        """The token as one line. Whoever reads it may join."""
        body = ".".join(
            (
                VERSION,
                self.id,
                _encode(self.secret),
                _encode(self.root.public_bytes(Encoding.DER)),
                _encode(",".join(self.addresses).encode()),
            )
        )
        return f"{body}.{_checksum(body)}"


def secret_hash(secret: bytes) -> bytes:
    """Digest a token's secret as the hub keeps it.

    The secret is 32 random bytes, which no dictionary holds: SHA-256 needs no salt and no stretching.
    """
    return hashlib.sha256(secret).digest()


def _token_id(text: str) -> TokenId:
    if not _ID.fullmatch(text):
        raise BadToken("the token's id is not one")
    return TokenId(text)


def _secret(text: str) -> bytes:
    secret = _decode(text)
    if len(secret) != SECRET_BYTES:
        raise BadToken("the token's secret has the wrong length")
    return secret


def _root(text: str) -> x509.Certificate:
    try:
        root = x509.load_der_x509_certificate(_decode(text))
        require_authority(root)
    except (ValueError, x509.InvalidVersion, BadBundle) as error:
        raise BadToken("the token's trust anchor is not a certificate authority's") from error
    return root


def _addresses(text: str) -> tuple[Address, ...]:
    parts = _decode(text).decode("ascii", errors="replace").split(",")
    if len(parts) > ADDRESSES_MAX:
        raise BadToken(f"the token has more than {ADDRESSES_MAX} addresses")
    try:
        return tuple(parse_address(part) for part in parts)
    except BadAddress as error:
        raise BadToken("the token holds an address that is none") from error


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadToken("the token holds a part that is not Base64") from error
    # Base64 can spell the same bytes in several ways; a token has one.
    if _encode(data) != text:
        raise BadToken("the token holds a part that is not Base64")
    return data


def _checksum(body: str) -> str:
    return _encode(hashlib.sha256(body.encode(errors="replace")).digest()[:CHECKSUM_BYTES])
