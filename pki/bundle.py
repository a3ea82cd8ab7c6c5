"""Trust anchors and certificate chains: what a node trusts, and what it shows.

Every bundle passes through here before gRPC sees it, because gRPC takes an empty one for "trust the
public web" and skips what it cannot read.
"""

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

from pki import pem
from pki.errors import BadBundle


@dataclass(frozen=True, slots=True)
class Chain:
    """A leaf and the certificates up to the root, without it."""

    certificates: tuple[x509.Certificate, ...]

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate that names the holder."""
        return self.certificates[0]

    @property
    def pem(self) -> bytes:
        """The chain as TLS libraries take it: leaf first."""
        return pem.write(self.certificates)


def parse_anchors(text: bytes, *, now: datetime) -> tuple[x509.Certificate, ...]:
    """Read the trust anchors that count at *now*.

    One that has expired is left out, as TLS would leave it out: while roots are rotated it stands
    beside its successor. Raises `BadBundle` for anything that is not a certificate of an authority,
    and if no anchor is left.
    """
    anchors = pem.certificates(pem.split(text))
    for anchor in anchors:
        require_authority(anchor)
    current = tuple(anchor for anchor in anchors if _is_current(anchor, now))
    if not current:
        raise BadBundle(
            f"no trust anchor is valid at {now:%Y-%m-%d %H:%M:%S} UTC: it has expired, or the clock is wrong"
        )
    return current


def parse_chain(text: bytes) -> Chain:
    """Read a chain, leaf first, each certificate signed by the next; or raise `BadBundle`."""
    return linked(pem.certificates(pem.split(text)))


def linked(certificates: tuple[x509.Certificate, ...]) -> Chain:
    """Return *certificates* as a chain, or raise `BadBundle` if they are none."""
    if not certificates:
        raise BadBundle("there is no certificate")
    if _is_authority(certificates[0]) or not _has_usual_key(certificates[0]):
        raise BadBundle("the chain does not begin with the certificate of a node or hub")
    for below, above in pairwise(certificates):
        require_authority(above)
        if not _is_signed(below, above):
            raise BadBundle("the chain is broken: a certificate is not signed by the next one")
    return Chain(certificates)


def require_anchored(chain: Chain, anchors: tuple[x509.Certificate, ...]) -> None:
    """Raise `BadBundle` unless one of *anchors* signed the end of *chain*."""
    if not any(_is_signed(chain.certificates[-1], anchor) for anchor in anchors):
        raise BadBundle("the certificate comes from another mesh: none of the trust anchors signed it")


def require_authority(certificate: x509.Certificate) -> None:
    """Raise `BadBundle` unless *certificate* may sign others."""
    if not _is_authority(certificate):
        raise BadBundle("a certificate in the file is not a certificate authority's")


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return False
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise BadBundle("a certificate in the file is damaged") from error
    return constraints.ca and usage.key_cert_sign


def _is_signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, TypeError, UnsupportedAlgorithm, ValueError):
        # In turn: another key; two kinds of key that sign nothing we know; another name.
        return False
    return True


def _has_usual_key(certificate: x509.Certificate) -> bool:
    try:
        key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return False
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)


def _is_current(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc
