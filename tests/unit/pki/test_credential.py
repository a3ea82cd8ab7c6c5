import pytest

from pki.credential import Credential, StoredIdentity
from pki.errors import BadBundle, BadIdentity, BadKey
from pki.identity import Identity, Role, node_name
from pki.keys import key_from_pem, key_to_pem, new_key
from tests.fakes.certs import Mesh

DEN = Identity(Role.SPOKE, node_name("den"))


@pytest.fixture(scope="module")
def credential(mesh: Mesh) -> Credential:
    key = new_key()
    return Credential(key, mesh.node_issuer.issue_node(key.public_key(), DEN, now=mesh.now))


def test_key_and_chain_are_one_text(credential: Credential):
    again = Credential.parse(credential.pem)
    assert again.chain == credential.chain
    assert again.key_pem == credential.key_pem


def test_a_key_and_the_certificate_of_another_are_no_credential(credential: Credential):
    with pytest.raises(BadKey):
        Credential(new_key(), credential.chain)


def test_a_key_alone_is_no_credential(credential: Credential):
    with pytest.raises(BadBundle):
        Credential.parse(credential.key_pem)


def test_a_chain_without_its_key_is_no_credential(credential: Credential):
    with pytest.raises(BadKey):
        Credential.parse(credential.chain_pem)


def test_two_keys_are_no_credential(credential: Credential):
    with pytest.raises(BadBundle):
        Credential.parse(credential.pem + key_to_pem(new_key()))


def test_a_stored_identity_says_all_that_is_asked_of_a_credential(credential: Credential):
    stored = StoredIdentity.of(credential)
    assert stored.identity == DEN
    assert stored.serial == f"{credential.chain.leaf.serial_number:x}"
    assert (stored.not_before, stored.not_after) == (credential.not_before, credential.not_after)
    assert key_from_pem(stored.key_pem).public_key() == credential.chain.leaf.public_key()


def test_a_gateways_credential_is_no_identity(mesh: Mesh):
    key = new_key()
    chain = mesh.hub_issuer.issue_gateway(key.public_key(), ["den.local"], now=mesh.now)
    with pytest.raises(BadIdentity):
        StoredIdentity.of(Credential(key, chain))


def test_no_credential_prints_its_key(credential: Credential):
    for shown in (repr(credential), repr(StoredIdentity.of(credential))):
        assert "=..." in shown
        assert "PRIVATE" not in shown
