from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from pki import pem
from pki.authority import create_root
from pki.bundle import Chain, parse_anchors, parse_chain, require_anchored
from pki.errors import BadBundle
from pki.identity import Identity, Role, node_name
from pki.keys import key_to_pem, new_key
from tests.fakes.certs import Mesh, lookalike

DEN = Identity(Role.SPOKE, node_name("den"))


@pytest.fixture(scope="module")
def chain(mesh: Mesh) -> Chain:
    return mesh.node_issuer.issue_node(new_key().public_key(), DEN, now=mesh.now)


@pytest.fixture(scope="module")
def anchors(mesh: Mesh, foreign_mesh: Mesh) -> bytes:
    return pem.write((mesh.root.certificate, foreign_mesh.root.certificate))


def test_anchors_are_read_back_as_they_were_written(anchors: bytes, mesh: Mesh, foreign_mesh: Mesh):
    roots = (mesh.root.certificate, foreign_mesh.root.certificate)
    assert parse_anchors(anchors, now=mesh.now) == roots
    assert parse_anchors(anchors.replace(b"\n", b"\r\n"), now=mesh.now) == roots


@pytest.mark.parametrize("text", [b"", b" \n", b"junk", b"\xff", b"-----BEGIN CERTIFICATE-----\n"])
def test_anchors_that_are_none_are_refused(text: bytes, now: datetime):
    with pytest.raises(BadBundle):
        parse_anchors(text, now=now)


def test_anchors_cut_anywhere_are_refused(anchors: bytes, mesh: Mesh):
    whole = pem.write((mesh.root.certificate,))
    for end in range(len(whole) + 1, len(anchors) - 1):
        with pytest.raises(BadBundle):
            parse_anchors(anchors[:end], now=mesh.now)


@pytest.mark.parametrize("junk", [b"junk\n", b"# a comment\n", b"\0"])
def test_anchors_with_anything_around_them_are_refused(anchors: bytes, now: datetime, junk: bytes):
    for text in (junk + anchors, anchors + junk):
        with pytest.raises(BadBundle):
            parse_anchors(text, now=now)


def test_anchors_with_a_private_key_among_them_are_refused(anchors: bytes, now: datetime):
    with pytest.raises(BadBundle):
        parse_anchors(anchors + key_to_pem(new_key()), now=now)


def test_anchors_whose_base64_is_damaged_are_refused(anchors: bytes, now: datetime):
    lines = anchors.splitlines()
    for damaged in ([*lines[:1], b"=" + lines[1][1:], *lines[2:]], [*lines[:1], b"AAAA", *lines[2:]]):
        with pytest.raises(BadBundle):
            parse_anchors(b"\n".join(damaged), now=now)


def test_more_anchors_than_a_mesh_ever_has_are_refused(anchors: bytes, now: datetime):
    with pytest.raises(BadBundle):
        parse_anchors(anchors * pem.BLOCKS_MAX, now=now)
    with pytest.raises(BadBundle):
        parse_anchors(b"\n" * (pem.PEM_BYTES_MAX + 1), now=now)


def test_a_leaf_is_no_anchor(chain: Chain, mesh: Mesh):
    with pytest.raises(BadBundle):
        parse_anchors(pem.write((mesh.root.certificate, chain.leaf)), now=mesh.now)


def test_a_certificate_without_extensions_is_no_anchor(now: datetime):
    key = new_key()
    name = x509.Name([])
    bare = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    with pytest.raises(BadBundle):
        parse_anchors(pem.write((bare.sign(key, hashes.SHA256()),)), now=now)


def test_a_certificate_whose_extensions_are_broken_is_no_anchor(now: datetime):
    key = new_key()
    name = x509.Name([])
    broken = x509.UnrecognizedExtension(x509.BasicConstraints.oid, b"junk")
    bare = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    certificate = bare.add_extension(broken, critical=True).sign(key, hashes.SHA256())
    with pytest.raises(BadBundle, match="damaged"):
        parse_anchors(pem.write((certificate,)), now=now)


def test_an_anchor_that_has_expired_is_left_out(mesh: Mesh):
    old = create_root(now=mesh.now - timedelta(days=2), lifetime=timedelta(days=1))
    both = pem.write((old.certificate, mesh.root.certificate))
    assert parse_anchors(both, now=mesh.now) == (mesh.root.certificate,)


@pytest.mark.parametrize("away", [timedelta(days=-1), timedelta(days=4000)])
def test_anchors_of_another_time_are_refused(anchors: bytes, now: datetime, away: timedelta):
    with pytest.raises(BadBundle, match="clock"):
        parse_anchors(anchors, now=now + away)


def test_a_chain_is_read_back_as_it_was_written(chain: Chain, mesh: Mesh):
    assert parse_chain(chain.pem) == chain
    assert chain.certificates == (chain.leaf, mesh.node_issuer.certificate)


def test_a_chain_in_the_wrong_order_is_refused(chain: Chain):
    with pytest.raises(BadBundle):
        parse_chain(pem.write(chain.certificates[::-1]))


def test_a_chain_with_a_link_that_did_not_sign_is_refused(chain: Chain, mesh: Mesh):
    for other in (mesh.hub_issuer, lookalike(mesh.node_issuer, now=mesh.now)):
        with pytest.raises(BadBundle):
            parse_chain(pem.write((chain.leaf, other.certificate)))


def test_a_chain_that_continues_with_a_leaf_is_refused(chain: Chain):
    with pytest.raises(BadBundle):
        parse_chain(pem.write((chain.leaf, chain.leaf)))


def test_a_leaf_with_a_key_of_another_kind_is_refused(now: datetime):
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([])
    leaf = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    with pytest.raises(BadBundle):
        parse_chain(pem.write((leaf.sign(key, hashes.SHA256()),)))


def test_a_chain_is_anchored_in_its_own_mesh_only(chain: Chain, mesh: Mesh, foreign_mesh: Mesh):
    require_anchored(chain, (foreign_mesh.root.certificate, mesh.root.certificate))
    with pytest.raises(BadBundle, match="another mesh"):
        require_anchored(chain, (foreign_mesh.root.certificate,))
    with pytest.raises(BadBundle, match="another mesh"):
        require_anchored(chain, (lookalike(mesh.root, now=mesh.now).certificate,))
