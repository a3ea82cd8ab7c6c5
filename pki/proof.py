"""What a node shows that comes back after its certificate has ended: that it still holds the key of it."""

import hashlib

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pki.errors import BadProof
from pki.keys import PrivateKey

NONCE_BYTES = 32
# An ECDSA signature on P-256 has at most 72 bytes in DER.
PROOF_BYTES_MAX = 80

# So that no signature that the key has made for anything else, in TLS for one, is a proof.
_PURPOSE = b"hubspoke rejoin 1\0"
_HOW = ec.ECDSA(hashes.SHA256())


def prove(key: PrivateKey, nonce: bytes, request_der: bytes) -> bytes:
    """Sign the hub's *nonce* together with the request that it is sent with."""
    return key.sign(_said(nonce, request_der), _HOW)


def check_proof(public_key: bytes, nonce: bytes, request_der: bytes, proof: bytes) -> None:
    """Raise `BadProof` unless *proof* was made with the key whose SubjectPublicKeyInfo is *public_key*."""
    if len(proof) > PROOF_BYTES_MAX:
        raise BadProof("the proof has too many bytes")
    try:
        key = serialization.load_der_public_key(public_key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadProof("the key cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise BadProof("the key is not on a curve")
    try:
        key.verify(proof, _said(nonce, request_der), _HOW)
    except InvalidSignature as error:
        raise BadProof("the proof was made with another key, or for something else") from error


def _said(nonce: bytes, request_der: bytes) -> bytes:
    # Both parts have a fixed length, so nobody can move bytes from one into the other.
    return _PURPOSE + hashlib.sha256(nonce).digest() + hashlib.sha256(request_der).digest()
