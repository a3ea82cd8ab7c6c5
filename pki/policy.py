"""What the mesh accepts: certificate requests, and the certificates that peers show.

TLS has verified a peer's chain, dates and key before `check_peer` sees the leaf. What TLS lets through
and the mesh does not is refused here: a leaf without a purpose, two identities in one, a session
resumed after the certificate's end, an issuer that was withdrawn while connections lived on.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import NewType, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID

from pki.errors import BadCsr, BadIdentity, PeerRefused, Refusal
from pki.identity import Identity, Role, parse_uri

# A request for a P-256 key with an empty subject has some 190 bytes.
CSR_BYTES_MAX = 4 * 1024

KeyId = NewType("KeyId", bytes)
"""Which key signed: the subject key identifier of an issuing certificate."""

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

# Everything that cryptography raises for a certificate whose extensions make no sense.
_UNREADABLE = (ValueError, x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType)


@dataclass(frozen=True, slots=True)
class Peer:
    """What a peer's certificate says. It stays true for as long as the certificate is used again."""

    identity: Identity
    serial_hex: str
    issuer: KeyId
    not_before: datetime
    not_after: datetime


def check_csr(der: bytes) -> ec.EllipticCurvePublicKey:
    """Return the key that a certificate request is for, or raise `BadCsr`.

    A request that asks for names or extensions is refused, not trimmed: whoever sends one expects
    something that they would not get.
    """
    if len(der) > CSR_BYTES_MAX:
        raise BadCsr(f"the certificate request has more than {CSR_BYTES_MAX} bytes")
    try:
        request = x509.load_der_x509_csr(der)
        key = request.public_key()
        asks = bool(request.subject.rdns) or bool(request.attributes)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise BadCsr("the certificate request cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadCsr("the key in the certificate request is not on the curve P-256")
    if asks:
        raise BadCsr("the certificate request asks for a name or an extension")
    if request.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA256:
        raise BadCsr("the certificate request is not signed with ECDSA and SHA-256")
    if not request.is_signature_valid:
        raise BadCsr("the certificate request is not signed with its own key")
    return key


def check_peer(certificate: x509.Certificate, *, issuers: frozenset[KeyId], now: datetime) -> Peer:
    """Say whom a peer's leaf speaks for at *now*, or raise `PeerRefused`.

    The two halves are there for whoever keeps peers: `read_peer` once a certificate, `check_current`
    once a call.
    """
    peer = read_peer(certificate)
    check_current(peer, issuers=issuers, now=now)
    return peer


def read_leaf(leaf_pem: bytes) -> Peer:
    """Read what a peer has shown, as `read_peer` does, or raise `PeerRefused`."""
    try:
        certificate = x509.load_pem_x509_certificate(leaf_pem)
    except (ValueError, x509.InvalidVersion) as error:
        raise PeerRefused(Refusal.MALFORMED) from error
    return read_peer(certificate)


def read_peer(certificate: x509.Certificate) -> Peer:
    """Read what does not change with time, or raise `PeerRefused`."""
    try:
        extensions = certificate.extensions
    except _UNREADABLE as error:
        raise PeerRefused(Refusal.MALFORMED) from error
    if certificate.serial_number <= 0:
        raise PeerRefused(Refusal.MALFORMED)
    identity = _only_identity(extensions)
    usages = list(_value(extensions, x509.ExtendedKeyUsage) or ())
    if usages != [ExtendedKeyUsageOID.CLIENT_AUTH]:
        raise PeerRefused(Refusal.WRONG_USAGE)
    return Peer(
        identity=identity,
        serial_hex=serial_hex(certificate),
        issuer=_issuer(extensions),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def check_current(peer: Peer, *, issuers: frozenset[KeyId], now: datetime) -> None:
    """Raise `PeerRefused` unless *peer* counts at *now* and its issuer is one of *issuers*.

    For every call: TLS has looked at the certificate once, when the connection began.
    """
    if peer.issuer not in issuers:
        raise PeerRefused(Refusal.UNKNOWN_ISSUER)
    if now < peer.not_before:
        raise PeerRefused(Refusal.NOT_YET_VALID)
    if now >= peer.not_after:
        raise PeerRefused(Refusal.EXPIRED)


def identity_of(certificate: x509.Certificate) -> Identity:
    """Return the one identity that our own certificate carries, or raise `BadIdentity`."""
    try:
        names = _value(certificate.extensions, x509.SubjectAlternativeName)
    except _UNREADABLE as error:
        raise BadIdentity("the certificate cannot be read") from error
    uris = names.get_values_for_type(x509.UniformResourceIdentifier) if names is not None else []
    if len(uris) != 1:
        raise BadIdentity(f"the certificate names {len(uris)} identities")
    return parse_uri(uris[0])


def key_id(issuer: x509.Certificate) -> KeyId:
    """Return how leaves refer to *issuer*, one of our issuing certificates."""
    return KeyId(issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest)


def serial_hex(certificate: x509.Certificate) -> str:
    """Write a certificate's serial number as the registry and the audit log do."""
    return f"{certificate.serial_number:x}"


def _only_identity(extensions: x509.Extensions) -> Identity:
    names = list(_value(extensions, x509.SubjectAlternativeName) or ())
    uris = [name for name in names if isinstance(name, x509.UniformResourceIdentifier)]
    if not uris:
        raise PeerRefused(Refusal.NO_IDENTITY)
    if len(uris) > 1:
        raise PeerRefused(Refusal.MANY_IDENTITIES)
    if len(names) > 1:
        raise PeerRefused(Refusal.OTHER_NAMES)
    try:
        identity = parse_uri(uris[0].value)
    except BadIdentity as error:
        raise PeerRefused(Refusal.BAD_IDENTITY) from error
    if identity.role is Role.HUB:
        raise PeerRefused(Refusal.NOT_A_CLIENT)
    return identity


def _issuer(extensions: x509.Extensions) -> KeyId:
    """Tell the issuer by its key: a name is copied easily, and TLS has matched the key identifiers."""
    authority = _value(extensions, x509.AuthorityKeyIdentifier)
    if authority is None or authority.key_identifier is None:
        raise PeerRefused(Refusal.UNKNOWN_ISSUER)
    return KeyId(authority.key_identifier)


def _value(extensions: x509.Extensions, kind: type[_Extension]) -> _Extension | None:
    for extension in extensions:
        if isinstance(extension.value, kind):
            return extension.value
    return None
