import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from pki import authority_files, disk, pem
from pki.address import Address
from pki.authority_files import AuthorityFiles
from pki.credential import Credential
from pki.errors import (
    BadBundle,
    BadIdentity,
    BadKey,
    NotEnrolled,
    NotInitialised,
    RootKeyMissing,
    UnsafeKeyFile,
    WrongPassphrase,
)
from pki.files import HubAddresses, HubFiles, NodeFiles
from pki.identity import Identity, Role, node_name
from pki.keys import PublicKey, key_to_pem, new_key
from tests.fakes.certs import Mesh

DEN = Identity(Role.SPOKE, node_name("den"))
PASSPHRASE = b"five random words are enough"


@dataclass(frozen=True, slots=True)
class Hub:
    """As much of a hub as an answer to a certificate request takes."""

    mesh: Mesh

    @property
    def anchors_pem(self) -> bytes:
        return pem.write((self.mesh.root.certificate,))

    def certify(self, key: PublicKey) -> bytes:
        return self.mesh.node_issuer.issue_node(key, DEN, now=self.mesh.now).pem


@pytest.fixture
def hub(mesh: Mesh) -> Hub:
    return Hub(mesh)


@pytest.fixture
def node(tmp_path: Path) -> NodeFiles:
    return NodeFiles(tmp_path / "spoke")


@pytest.fixture
def enrolled(node: NodeFiles, hub: Hub) -> NodeFiles:
    node.adopt(hub.certify(node.request_key().public_key()), hub.anchors_pem, now=hub.mesh.now)
    return node


@pytest.fixture
def authorities(tmp_path: Path, mesh: Mesh) -> AuthorityFiles:
    found = AuthorityFiles(tmp_path)
    found.save(authority_files.ROOT, mesh.root, passphrase=PASSPHRASE)
    found.save(authority_files.HUB_ISSUING, mesh.hub_issuer)
    found.save(authority_files.NODE_ISSUING, mesh.node_issuer)
    return found


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_authorities_are_read_back_as_they_were_written(authorities: AuthorityFiles, mesh: Mesh):
    assert authorities.load_root(PASSPHRASE).certificate == mesh.root.certificate
    assert authorities.load_hub_issuer().certificate == mesh.hub_issuer.certificate
    assert authorities.load_node_issuer().certificate == mesh.node_issuer.certificate
    assert authorities.load_certificate(authority_files.ROOT) == mesh.root.certificate


def test_the_root_stays_shut_without_its_passphrase(authorities: AuthorityFiles):
    for passphrase in (None, b"another passphrase"):
        with pytest.raises(WrongPassphrase, match=r"root\.key"):
            authorities.load_root(passphrase)


def test_an_authority_is_never_overwritten(authorities: AuthorityFiles, mesh: Mesh):
    with pytest.raises(FileExistsError):
        authorities.save(authority_files.ROOT, mesh.root)


def test_issuers_work_with_the_root_key_offline(authorities: AuthorityFiles):
    authorities.key(authority_files.ROOT).unlink()
    assert authorities.load_hub_issuer()
    with pytest.raises(RootKeyMissing, match=r"there is no .*root\.key"):
        authorities.load_root(PASSPHRASE)


def test_an_authority_with_another_ones_key_is_refused(authorities: AuthorityFiles):
    disk.replace(
        authorities.key(authority_files.HUB_ISSUING),
        authorities.key(authority_files.NODE_ISSUING).read_bytes(),
        mode=disk.SECRET_MODE,
    )
    with pytest.raises(BadKey):
        authorities.load_hub_issuer()


def test_an_authoritys_file_holds_one_certificate(authorities: AuthorityFiles, mesh: Mesh):
    two = pem.write((mesh.root.certificate, mesh.hub_issuer.certificate))
    authorities.certificate(authority_files.ROOT).write_bytes(two)
    with pytest.raises(BadBundle, match="more than one"):
        authorities.load_certificate(authority_files.ROOT)


def test_a_hub_without_keys_says_what_to_run(tmp_path: Path, now: datetime):
    hub = HubFiles(tmp_path / "hub")
    for load in (
        hub.load_identity,
        hub.load_gateway,
        hub.authorities.load_node_issuer,
        lambda: hub.load_anchors(now=now),
    ):
        with pytest.raises(NotInitialised, match="hubspoke pki init"):
            load()


def test_a_node_without_an_identity_is_told_to_join(node: NodeFiles):
    with pytest.raises(NotEnrolled):
        node.load_identity()


def test_a_key_is_on_disk_before_anybody_hears_of_it(node: NodeFiles):
    key = node.request_key()
    assert node.next_key.read_bytes() == key_to_pem(key)


def test_a_key_whose_certificate_never_came_is_asked_for_again(node: NodeFiles):
    assert node.request_key().public_key() == node.request_key().public_key()


def test_a_certificate_that_comes_is_the_nodes_identity(node: NodeFiles, hub: Hub):
    key = node.request_key()
    adopted = node.adopt(hub.certify(key.public_key()), hub.anchors_pem, now=hub.mesh.now)
    assert adopted.identity == DEN
    assert adopted.key_pem == key_to_pem(key)
    assert node.load_identity() == adopted
    assert node.load_anchors(now=hub.mesh.now) == (hub.mesh.root.certificate,)
    assert not node.next_key.exists()


def test_every_certificate_is_for_a_fresh_key(enrolled: NodeFiles):
    assert key_to_pem(enrolled.request_key()) != enrolled.load_identity().key_pem


def test_after_a_crash_between_the_last_two_steps_a_fresh_key_is_still_asked_for(enrolled: NodeFiles):
    used = enrolled.load_identity().key_pem
    disk.create(enrolled.next_key, used, mode=disk.SECRET_MODE)
    assert key_to_pem(enrolled.request_key()) != used


def test_a_certificate_for_another_key_changes_nothing(enrolled: NodeFiles, hub: Hub):
    before = enrolled.load_identity()
    enrolled.request_key()
    with pytest.raises(BadKey):
        enrolled.adopt(hub.certify(new_key().public_key()), hub.anchors_pem, now=hub.mesh.now)
    assert enrolled.load_identity() == before


def test_a_certificate_that_nobody_asked_for_changes_nothing(enrolled: NodeFiles, hub: Hub):
    before = enrolled.load_identity()
    with pytest.raises(BadBundle, match=r"next\.key is missing"):
        enrolled.adopt(hub.certify(new_key().public_key()), hub.anchors_pem, now=hub.mesh.now)
    assert enrolled.load_identity() == before
    assert not enrolled.next_key.exists()


def test_a_certificate_of_another_mesh_changes_nothing(enrolled: NodeFiles, hub: Hub, foreign_mesh: Mesh):
    before = enrolled.load_identity()
    foreign = Hub(foreign_mesh).certify(enrolled.request_key().public_key())
    with pytest.raises(BadBundle, match="another mesh"):
        enrolled.adopt(foreign, hub.anchors_pem, now=hub.mesh.now)
    assert enrolled.load_identity() == before


@pytest.mark.parametrize("answer", [b"", b"junk"])
def test_junk_instead_of_a_certificate_or_anchors_changes_nothing(
    enrolled: NodeFiles, hub: Hub, answer: bytes
):
    before = enrolled.load_identity()
    chain_pem = hub.certify(enrolled.request_key().public_key())
    for chain, anchors in ((answer, hub.anchors_pem), (chain_pem, answer)):
        with pytest.raises(BadBundle):
            enrolled.adopt(chain, anchors, now=hub.mesh.now)
    assert enrolled.load_identity() == before
    assert enrolled.load_anchors(now=hub.mesh.now)


def test_a_damaged_identity_is_named_in_the_error(enrolled: NodeFiles):
    disk.replace(enrolled.identity, enrolled.identity.read_bytes()[:-40], mode=disk.SECRET_MODE)
    with pytest.raises(BadBundle, match=r"spoke/identity\.pem: the file is damaged"):
        enrolled.load_identity()


def test_a_gateways_certificate_is_no_nodes_identity(enrolled: NodeFiles, mesh: Mesh):
    key = new_key()
    chain = mesh.hub_issuer.issue_gateway(key.public_key(), ["den.local"], now=mesh.now)
    disk.replace(enrolled.identity, Credential(key, chain).pem, mode=disk.SECRET_MODE)
    with pytest.raises(BadIdentity, match=r"identity\.pem"):
        enrolled.load_identity()


@pytest.mark.skipif(not disk.POSIX, reason="Windows has no modes")
def test_keys_are_the_owners_alone_and_the_rest_is_public(enrolled: NodeFiles):
    enrolled.save_addresses(HubAddresses((), ()))
    enrolled.request_key()
    assert mode(enrolled.directory) == 0o700
    assert mode(enrolled.identity) == mode(enrolled.next_key) == 0o600
    assert mode(enrolled.anchors) == mode(enrolled.hub) == 0o644


@pytest.mark.skipif(not disk.POSIX, reason="Windows has no modes")
def test_an_identity_that_others_can_read_is_not_used(enrolled: NodeFiles):
    enrolled.identity.chmod(0o644)
    with pytest.raises(UnsafeKeyFile, match="chmod 600"):
        enrolled.load_identity()


def test_addresses_are_read_back_as_they_were_written(node: NodeFiles):
    addresses = HubAddresses((Address("den.local:7443"), Address("[fd00::5]:7443")), (Address("den:7444"),))
    node.save_addresses(addresses)
    assert node.load_addresses() == addresses


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"mesh": [], "enrol": 1}',
        '{"mesh": ["den"], "enrol": []}',
        '{"mesh": [1], "enrol": []}',
    ],
)
def test_damaged_addresses_are_refused(node: NodeFiles, text: str):
    disk.make_directory(node.directory)
    node.hub.write_text(text)
    with pytest.raises(BadBundle, match=r"hub\.json"):
        node.load_addresses()
