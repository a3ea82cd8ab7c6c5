import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from pki.errors import BadKey, WeakPassphrase, WrongPassphrase
from pki.keys import certificate_request, key_digest, key_from_pem, key_to_pem, new_key

PASSPHRASE = b"five random words are enough"


def pem_of(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_a_key_is_read_back_as_it_was_written():
    key = new_key()
    assert key_from_pem(key_to_pem(key)).private_numbers() == key.private_numbers()


def test_an_encrypted_key_opens_with_its_passphrase():
    key = new_key()
    pem = key_to_pem(key, PASSPHRASE)
    assert pem.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert key_from_pem(pem, PASSPHRASE).private_numbers() == key.private_numbers()


@pytest.mark.parametrize("passphrase", [None, b"", b"another passphrase"])
def test_an_encrypted_key_stays_shut_without_its_passphrase(passphrase: bytes | None):
    with pytest.raises(WrongPassphrase):
        key_from_pem(key_to_pem(new_key(), PASSPHRASE), passphrase)


@pytest.mark.parametrize("passphrase", [b"", b"short"])
def test_a_passphrase_that_would_not_protect_is_refused(passphrase: bytes):
    with pytest.raises(WeakPassphrase):
        key_to_pem(new_key(), passphrase)


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"junk",
        key_to_pem(new_key())[:60],
        pem_of(ec.generate_private_key(ec.SECP384R1())),
        pem_of(ed25519.Ed25519PrivateKey.generate()),
    ],
    ids=["empty", "junk", "cut", "P-384", "Ed25519"],
)
def test_only_a_whole_p256_key_is_a_key(pem: bytes):
    with pytest.raises(BadKey):
        key_from_pem(pem)


def test_a_certificate_request_asks_for_nothing_but_a_certificate():
    key = new_key()
    request = x509.load_der_x509_csr(certificate_request(key))
    assert request.is_signature_valid
    assert request.public_key() == key.public_key()
    assert not request.subject.rdns
    assert not request.attributes


def test_two_keys_have_two_digests():
    key = new_key()
    assert key_digest(key.public_key()) == key_digest(key_from_pem(key_to_pem(key)).public_key())
    assert key_digest(key.public_key()) != key_digest(new_key().public_key())
