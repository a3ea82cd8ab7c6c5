from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import AttributeOID, NameOID

from pki.errors import BadCsr, BadIdentity, PeerRefused, Refusal
from pki.identity import HUB_SERVER_NAME, Identity, Role, node_name
from pki.keys import certificate_request, new_key
from pki.policy import (
    CSR_BYTES_MAX,
    check_csr,
    check_current,
    check_peer,
    identity_of,
    key_id,
    read_peer,
    serial_hex,
)
from tests.fakes.certs import RIGHT, WRONG, Mesh, Shape, issue, lookalike

DEN = Identity(Role.SPOKE, node_name("den"))


def request(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | None = None,
    *,
    common_name: str = "",
    extension: x509.ExtensionType | None = None,
    challenge: bytes = b"",
    digest: hashes.HashAlgorithm | None = None,
) -> bytes:
    key = key or new_key()
    name = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(name))
    if extension:
        builder = builder.add_extension(extension, critical=False)
    if challenge:
        builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, challenge)
    signed_with = None if isinstance(key, ed25519.Ed25519PrivateKey) else digest or hashes.SHA256()
    return builder.sign(key, signed_with).public_bytes(serialization.Encoding.DER)


def signed_by_another_key() -> bytes:
    der = bytearray(request())
    der[-1] ^= 1
    return bytes(der)


def test_a_bare_request_yields_its_key():
    key = new_key()
    assert check_csr(certificate_request(key)) == key.public_key()


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"junk",
        request()[:-1],
        request() + b"\0",
        request() + b"\0" * CSR_BYTES_MAX,
        signed_by_another_key(),
        request(common_name=HUB_SERVER_NAME),
        request(extension=x509.BasicConstraints(ca=True, path_length=None)),
        request(extension=x509.SubjectAlternativeName([x509.DNSName(HUB_SERVER_NAME)])),
        request(challenge=b"secret"),
        request(digest=hashes.SHA512()),
        request(ec.generate_private_key(ec.SECP384R1())),
        request(ed25519.Ed25519PrivateKey.generate()),
        request(rsa.generate_private_key(65537, 2048)),
    ],
    ids=[
        "empty",
        "junk",
        "cut",
        "tail",
        "too long",
        "bad signature",
        "CN",
        "CA:TRUE",
        "SAN",
        "attribute",
        "SHA-512",
        "P-384",
        "Ed25519",
        "RSA",
    ],
)
def test_a_request_for_anything_more_is_refused_not_trimmed(der: bytes):
    with pytest.raises(BadCsr):
        check_csr(der)


def test_a_node_is_who_its_certificate_says(mesh: Mesh):
    leaf = mesh.node_issuer.issue_node(new_key().public_key(), DEN, now=mesh.now).leaf
    peer = check_peer(leaf, issuers=frozenset({key_id(mesh.node_issuer.certificate)}), now=mesh.now)
    assert peer.identity == DEN
    assert peer.serial_hex == serial_hex(leaf) == f"{leaf.serial_number:x}"
    assert peer.not_after == mesh.now + timedelta(hours=24)


def test_the_shape_that_the_wrong_ones_differ_from_is_right(mesh: Mesh):
    leaf = issue(mesh.node_issuer, RIGHT, now=mesh.now).chain.leaf
    assert check_peer(leaf, issuers=frozenset({key_id(mesh.node_issuer.certificate)}), now=mesh.now)


@pytest.mark.parametrize(("shape", "reason"), WRONG.values(), ids=WRONG)
def test_a_certificate_that_is_wrong_in_one_way_is_refused(mesh: Mesh, shape: Shape, reason: Refusal):
    leaf = issue(mesh.node_issuer, shape, now=mesh.now).chain.leaf
    with pytest.raises(PeerRefused) as refused:
        check_peer(leaf, issuers=frozenset({key_id(mesh.node_issuer.certificate)}), now=mesh.now)
    assert refused.value.reason is reason


def test_another_authority_of_the_same_name_is_another_issuer(mesh: Mesh):
    forger = lookalike(mesh.node_issuer, now=mesh.now)
    leaf = issue(forger, now=mesh.now).chain.leaf
    assert leaf.issuer == mesh.node_issuer.certificate.subject
    with pytest.raises(PeerRefused) as refused:
        check_peer(leaf, issuers=frozenset({key_id(mesh.node_issuer.certificate)}), now=mesh.now)
    assert refused.value.reason is Refusal.UNKNOWN_ISSUER


def test_a_certificate_that_does_not_name_its_issuers_key_is_refused(mesh: Mesh):
    key = new_key()
    certificate = (
        x509.CertificateBuilder(
            issuer_name=x509.Name([]),
            subject_name=x509.Name([]),
            public_key=key.public_key(),
            serial_number=1,
            not_valid_before=mesh.now,
            not_valid_after=mesh.now + timedelta(hours=1),
        )
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(DEN.uri)]), critical=True)
        .add_extension(x509.ExtendedKeyUsage(RIGHT.usages), critical=False)
        .sign(key, hashes.SHA256())
    )
    with pytest.raises(PeerRefused) as refused:
        read_peer(certificate)
    assert refused.value.reason is Refusal.UNKNOWN_ISSUER


def test_a_certificate_whose_extensions_are_broken_is_refused(mesh: Mesh):
    usage = x509.UnrecognizedExtension(x509.ExtendedKeyUsage.oid, b"junk")
    certificate = (
        x509.CertificateBuilder(
            issuer_name=x509.Name([]),
            subject_name=x509.Name([]),
            public_key=new_key().public_key(),
            serial_number=1,
            not_valid_before=mesh.now,
            not_valid_after=mesh.now + timedelta(hours=1),
        )
        .add_extension(usage, critical=False)
        .sign(new_key(), hashes.SHA256())
    )
    with pytest.raises(PeerRefused) as refused:
        read_peer(certificate)
    assert refused.value.reason is Refusal.MALFORMED
    with pytest.raises(BadIdentity):
        identity_of(certificate)


@pytest.mark.parametrize(
    ("after", "reason"),
    [(timedelta(minutes=-6), Refusal.NOT_YET_VALID), (timedelta(hours=24), Refusal.EXPIRED)],
)
def test_a_peer_read_once_is_refused_outside_its_time(mesh: Mesh, after: timedelta, reason: Refusal):
    peer = read_peer(mesh.node_issuer.issue_node(new_key().public_key(), DEN, now=mesh.now).leaf)
    with pytest.raises(PeerRefused) as refused:
        check_current(peer, issuers=frozenset({peer.issuer}), now=mesh.now + after)
    assert refused.value.reason is reason


def test_a_peer_read_once_is_refused_when_its_issuer_is_withdrawn(mesh: Mesh):
    peer = read_peer(mesh.node_issuer.issue_node(new_key().public_key(), DEN, now=mesh.now).leaf)
    successor = key_id(mesh.root.create_node_issuer(now=mesh.now).certificate)
    check_current(peer, issuers=frozenset({peer.issuer, successor}), now=mesh.now)
    with pytest.raises(PeerRefused) as refused:
        check_current(peer, issuers=frozenset({successor}), now=mesh.now)
    assert refused.value.reason is Refusal.UNKNOWN_ISSUER


def test_a_hub_finds_itself_in_its_own_certificate(mesh: Mesh):
    leaf = mesh.hub_issuer.issue_hub(new_key().public_key(), node_name("h1"), now=mesh.now).leaf
    assert identity_of(leaf) == Identity(Role.HUB, node_name("h1"))


def test_a_gateways_certificate_is_nobodys(mesh: Mesh, now: datetime):
    leaf = mesh.hub_issuer.issue_gateway(new_key().public_key(), ["den.local"], now=now).leaf
    with pytest.raises(BadIdentity):
        identity_of(leaf)
