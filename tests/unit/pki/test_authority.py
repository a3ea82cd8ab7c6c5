"""What is in the certificates, extension by extension; `test_handshake` shows that OpenSSL agrees."""

from datetime import datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from pki.authority import Authority, NodeIssuer, create_root
from pki.bundle import Chain
from pki.errors import BadAddress, BadIdentity, BadKey, IssuerExpired
from pki.identity import HUB_SERVER_NAME, Identity, Role, node_name
from pki.keys import new_key
from pki.lifetime import Stage, stage
from pki.profiles import HOSTS_MAX
from tests.fakes.certs import Mesh

DEN = Identity(Role.SPOKE, node_name("den"))
H1 = node_name("h1")


@pytest.fixture(scope="module")
def node(mesh: Mesh) -> Chain:
    return mesh.node_issuer.issue_node(new_key().public_key(), DEN, now=mesh.now)


@pytest.fixture(scope="module")
def hub(mesh: Mesh) -> Chain:
    return mesh.hub_issuer.issue_hub(new_key().public_key(), H1, now=mesh.now)


@pytest.fixture(scope="module")
def gateway(mesh: Mesh) -> Chain:
    hosts = ["den", "den.local", "192.168.1.5", "FD00::5", "den.local"]
    return mesh.hub_issuer.issue_gateway(new_key().public_key(), hosts, now=mesh.now)


@pytest.fixture(params=["node", "hub", "gateway"])
def leaf(request: pytest.FixtureRequest) -> x509.Certificate:
    chain: Chain = request.getfixturevalue(request.param)
    return chain.leaf


def extension(certificate: x509.Certificate, kind: type[x509.ExtensionType]) -> x509.Extension:
    return certificate.extensions.get_extension_for_class(kind)


def usages(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(extension(certificate, x509.ExtendedKeyUsage).value)


def names(certificate: x509.Certificate) -> list[object]:
    return [name.value for name in extension(certificate, x509.SubjectAlternativeName).value]


def verify_server(mesh: Mesh, chain: Chain, name: x509.DNSName | x509.IPAddress) -> list[x509.Certificate]:
    policy = PolicyBuilder().store(Store([mesh.root.certificate])).time(mesh.now)
    return policy.build_server_verifier(name).verify(chain.leaf, list(chain.certificates[1:]))


@pytest.mark.parametrize(("name", "path_length"), [("root", 1), ("hub_issuer", 0), ("node_issuer", 0)])
def test_an_authority_signs_certificates_and_nothing_else(mesh: Mesh, name: str, path_length: int):
    authority: Authority = getattr(mesh, name)
    constraints = extension(authority.certificate, x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=path_length)
    usage = extension(authority.certificate, x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert not usage.value.digital_signature
    assert not usage.value.crl_sign


def test_the_root_lasts_ten_years_and_the_issuers_five(mesh: Mesh):
    assert mesh.root.certificate.not_valid_after_utc - mesh.now == timedelta(days=3653)
    assert mesh.hub_issuer.certificate.not_valid_after_utc - mesh.now == timedelta(days=1826)
    assert mesh.node_issuer.certificate.not_valid_after_utc - mesh.now == timedelta(days=1826)


def test_each_issuer_has_one_purpose(mesh: Mesh):
    assert usages(mesh.hub_issuer.certificate) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert usages(mesh.node_issuer.certificate) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_what_signs_nodes_is_bound_to_the_trust_domain(mesh: Mesh):
    domain = extension(mesh.node_issuer.certificate, x509.NameConstraints)
    assert domain.critical
    permitted = [x509.UniformResourceIdentifier("hubspoke.internal")]
    assert domain.value == x509.NameConstraints(permitted, None)


def test_two_authorities_of_a_kind_never_share_a_name(mesh: Mesh, foreign_mesh: Mesh):
    assert mesh.root.certificate.subject != foreign_mesh.root.certificate.subject
    assert mesh.node_issuer.certificate.subject != foreign_mesh.node_issuer.certificate.subject


def test_a_leaf_has_no_subject_for_a_library_to_read_a_host_name_from(leaf: x509.Certificate):
    assert not leaf.subject.rdns
    assert extension(leaf, x509.SubjectAlternativeName).critical


def test_a_leaf_signs_nothing_but_handshakes(leaf: x509.Certificate):
    constraints = extension(leaf, x509.BasicConstraints)
    assert constraints.critical
    assert not constraints.value.ca
    usage = extension(leaf, x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign


def test_a_leaf_names_its_key_and_its_issuers_key(leaf: x509.Certificate, mesh: Mesh):
    issuer = mesh.node_issuer if usages(leaf) == [ExtendedKeyUsageOID.CLIENT_AUTH] else mesh.hub_issuer
    issuer_id = extension(issuer.certificate, x509.SubjectKeyIdentifier).value.digest
    assert extension(leaf, x509.AuthorityKeyIdentifier).value.key_identifier == issuer_id
    assert extension(leaf, x509.SubjectKeyIdentifier).value.digest != issuer_id
    leaf.verify_directly_issued_by(issuer.certificate)


def test_a_leaf_has_a_serial_number_that_nobody_can_guess(leaf: x509.Certificate):
    assert leaf.serial_number.bit_length() > 100


def test_a_leaf_has_no_extension_beyond_its_profile(leaf: x509.Certificate):
    assert len(leaf.extensions) == 6


def test_a_node_is_one_uri_and_a_client_only(node: Chain):
    assert names(node.leaf) == ["spiffe://hubspoke.internal/spoke/den"]
    assert usages(node.leaf) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_hub_is_one_uri_and_the_name_that_nodes_expect(hub: Chain):
    assert names(hub.leaf) == ["spiffe://hubspoke.internal/hub/h1", HUB_SERVER_NAME]
    assert usages(hub.leaf) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_a_gateway_is_what_people_type_each_once(gateway: Chain):
    assert names(gateway.leaf) == ["den", "den.local", ip_address("192.168.1.5"), ip_address("fd00::5")]
    assert usages(gateway.leaf) == [ExtendedKeyUsageOID.SERVER_AUTH]


@pytest.mark.parametrize(
    "host", [HUB_SERVER_NAME, "hubspoke.internal", "x.hubspoke.internal", "HUB.Hubspoke.Internal"]
)
def test_a_gateway_never_passes_for_the_hub(mesh: Mesh, host: str):
    with pytest.raises(BadAddress):
        mesh.hub_issuer.issue_gateway(new_key().public_key(), ["den.local", host], now=mesh.now)


@pytest.mark.parametrize("hosts", [[], ["*.local"], [f"den-{n}" for n in range(HOSTS_MAX + 1)]])
def test_a_gateway_has_real_hosts_and_not_too_many(mesh: Mesh, hosts: list[str]):
    with pytest.raises(BadAddress):
        mesh.hub_issuer.issue_gateway(new_key().public_key(), hosts, now=mesh.now)


def test_a_host_that_only_ends_like_the_trust_domain_is_fine(mesh: Mesh):
    chain = mesh.hub_issuer.issue_gateway(new_key().public_key(), ["myhubspoke.internal"], now=mesh.now)
    assert names(chain.leaf) == ["myhubspoke.internal"]


def test_a_node_is_never_certified_as_a_hub(mesh: Mesh):
    with pytest.raises(BadIdentity):
        mesh.node_issuer.issue_node(new_key().public_key(), Identity(Role.HUB, H1), now=mesh.now)


def test_a_day_for_nodes_and_hubs_and_a_season_for_the_gateway(
    node: Chain, hub: Chain, gateway: Chain, now: datetime
):
    assert node.leaf.not_valid_after_utc - now == timedelta(hours=24)
    assert hub.leaf.not_valid_after_utc - now == timedelta(hours=24)
    assert gateway.leaf.not_valid_after_utc - now == timedelta(days=90)


def test_a_clock_five_minutes_behind_is_forgiven(node: Chain, now: datetime):
    assert now - node.leaf.not_valid_before_utc == timedelta(minutes=5)


def test_a_certificate_for_seconds_is_fresh_when_it_is_made(mesh: Mesh):
    leaf = mesh.node_issuer.issue_node(
        new_key().public_key(), DEN, now=mesh.now, lifetime=timedelta(seconds=10)
    ).leaf
    assert stage(leaf.not_valid_before_utc, leaf.not_valid_after_utc, mesh.now) is Stage.FRESH


def test_a_leaf_ends_with_its_issuer_at_the_latest(mesh: Mesh):
    ends_at = mesh.node_issuer.certificate.not_valid_after_utc
    late = ends_at - timedelta(hours=1)
    leaf = mesh.node_issuer.issue_node(new_key().public_key(), DEN, now=late).leaf
    assert leaf.not_valid_after_utc == ends_at


def test_an_issuer_ends_with_its_root_at_the_latest(now: datetime):
    root = create_root(now=now, lifetime=timedelta(days=1))
    issuer = root.create_node_issuer(now=now)
    assert issuer.certificate.not_valid_after_utc == root.certificate.not_valid_after_utc


def test_an_issuer_that_has_ended_signs_nothing(mesh: Mesh):
    ended = mesh.node_issuer.certificate.not_valid_after_utc
    with pytest.raises(IssuerExpired):
        mesh.node_issuer.issue_node(new_key().public_key(), DEN, now=ended)


def test_a_hubs_chain_leads_to_the_root(mesh: Mesh, hub: Chain):
    path = verify_server(mesh, hub, x509.DNSName(HUB_SERVER_NAME))
    assert path == [hub.leaf, mesh.hub_issuer.certificate, mesh.root.certificate]


def test_a_gateways_chain_leads_to_the_root_under_every_name(mesh: Mesh, gateway: Chain):
    assert verify_server(mesh, gateway, x509.DNSName("den.local"))
    assert verify_server(mesh, gateway, x509.IPAddress(ip_address("192.168.1.5")))


def test_a_gateways_chain_does_not_speak_for_the_hub(mesh: Mesh, gateway: Chain):
    with pytest.raises(VerificationError):
        verify_server(mesh, gateway, x509.DNSName(HUB_SERVER_NAME))


def test_another_meshs_hub_is_not_ours(mesh: Mesh, foreign_mesh: Mesh):
    chain = foreign_mesh.hub_issuer.issue_hub(new_key().public_key(), H1, now=mesh.now)
    with pytest.raises(VerificationError):
        verify_server(mesh, chain, x509.DNSName(HUB_SERVER_NAME))


def test_an_authority_has_the_key_of_its_certificate(mesh: Mesh):
    with pytest.raises(BadKey):
        NodeIssuer(new_key(), mesh.node_issuer.certificate)


def test_an_authority_does_not_print_its_key(mesh: Mesh):
    assert repr(mesh.root).startswith("Root(key=..., certificate='CN=hubspoke root ")
