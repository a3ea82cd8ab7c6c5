"""Private keys: made here, kept as PEM, and put forward in certificate requests.

ECDSA on P-256 is the only kind: it is the fastest that both BoringSSL and OpenSSL take from a peer
(they refuse Ed25519 leaves).
"""

from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pki.errors import BadKey, WeakPassphrase, WrongPassphrase

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey

# OpenSSL stretches a PKCS#8 passphrase with no more than 2,048 rounds of PBKDF2, so the
# passphrase itself has to carry the strength.
PASSPHRASE_BYTES_MIN = 12

FINGERPRINT_BYTES = 8

_ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"


def new_key() -> PrivateKey:
    """Make a private key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_to_pem(key: PrivateKey, passphrase: bytes | None = None) -> bytes:
    """Write *key* as PKCS#8, encrypted if there is a *passphrase*.

    Raises `WeakPassphrase` for less than `PASSPHRASE_BYTES_MIN` bytes.
    """
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        if len(passphrase) < PASSPHRASE_BYTES_MIN:
            raise WeakPassphrase(f"a passphrase has at least {PASSPHRASE_BYTES_MIN} bytes")
        encryption = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def key_from_pem(pem: bytes, passphrase: bytes | None = None) -> PrivateKey:
    """Read a key that `key_to_pem` wrote.

    The passphrase of a key that is not encrypted is not looked at. Raises `WrongPassphrase`, or
    `BadKey` for anything but a P-256 key.
    """
    encrypted = pem.lstrip().startswith(_ENCRYPTED)
    if encrypted and not passphrase:
        raise WrongPassphrase("the key is encrypted and there is no passphrase")
    try:
        key = serialization.load_pem_private_key(pem, passphrase if encrypted else None)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        if encrypted:
            raise WrongPassphrase("the passphrase does not open the key") from error
        raise BadKey("this is not a private key in PEM") from error
    if not isinstance(key, PrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadKey("the private key is not on the curve P-256")
    return key


def certificate_request(key: PrivateKey) -> bytes:
    """Ask for a certificate to *key*, and for nothing else: PKCS#10 in DER.

    Who the certificate is for is never the asker's to say, so the subject is empty.
    """
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)


def public_bytes(key: PublicKey) -> bytes:
    """Write *key* as a SubjectPublicKeyInfo in DER."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def key_digest(key: PublicKey) -> bytes:
    """Digest *key* so that it can be recognised: SHA-256 of its SubjectPublicKeyInfo."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(public_bytes(key))
    return digest.finalize()


def fingerprint(digest: bytes) -> str:
    """Write a key's digest for people to compare: 64 bits of it, which nobody finds a second key to in a day."""
    return " ".join(digest[at : at + 2].hex() for at in range(0, FINGERPRINT_BYTES, 2))
