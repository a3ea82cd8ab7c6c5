"""The certificates at work: TLS handshakes in memory, with OpenSSL at its strictest on both sides."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pki.authority import Authority
from pki.bundle import Chain
from pki.credential import Credential
from pki.identity import HUB_SERVER_NAME, Identity, Role, node_name
from pki.keys import new_key
from tests.fakes.certs import RIGHT, SERVER, WRONG, Mesh, Shape, issue, lookalike, make_mesh

DEN = Identity(Role.SPOKE, node_name("den"))
# Not even TLS lets these in; the rest of `WRONG` is for `check_peer` alone to refuse.
REFUSED_BY_TLS = ("serverAuth", "foreign trust domain", "expired", "not valid yet")


@pytest.fixture(scope="module")
def live() -> Mesh:
    """OpenSSL looks at the clock, so these certificates are of today."""
    return make_mesh(datetime.now(UTC))


@pytest.fixture
def hub(live: Mesh) -> Credential:
    key = new_key()
    return Credential(key, live.hub_issuer.issue_hub(key.public_key(), node_name("h1"), now=live.now))


@pytest.fixture
def node(live: Mesh) -> Credential:
    key = new_key()
    return Credential(key, live.node_issuer.issue_node(key.public_key(), DEN, now=live.now))


def handshake(
    tmp_path: Path, live: Mesh, *, server: Credential, client: Credential, name: str = HUB_SERVER_NAME
) -> None:
    """Shake hands as a hub (that trusts what signs nodes) and a node (that trusts the root) do."""
    server_side = context(tmp_path, ssl.PROTOCOL_TLS_SERVER, server, trusts=live.node_issuer)
    client_side = context(tmp_path, ssl.PROTOCOL_TLS_CLIENT, client, trusts=live.root)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client_side.wrap_bio(down, up, server_hostname=name),
        server_side.wrap_bio(up, down, server_side=True),
    ]
    while ends:
        for end in tuple(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)


def context(tmp_path: Path, protocol: int, own: Credential, *, trusts: Authority) -> ssl.SSLContext:
    path = tmp_path / f"{protocol}.pem"
    path.write_bytes(own.pem)
    made = ssl.SSLContext(protocol)
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    made.load_cert_chain(path)
    made.load_verify_locations(cadata=Chain((trusts.certificate,)).pem.decode())
    return made


def test_a_hub_and_a_node_accept_each_other(tmp_path: Path, live: Mesh, hub: Credential, node: Credential):
    handshake(tmp_path, live, server=hub, client=node)


def test_the_right_shape_is_accepted(tmp_path: Path, live: Mesh, hub: Credential):
    handshake(tmp_path, live, server=hub, client=issue(live.node_issuer, RIGHT, now=live.now))


@pytest.mark.parametrize("what", REFUSED_BY_TLS)
def test_the_hub_refuses_a_wrong_client(tmp_path: Path, live: Mesh, hub: Credential, what: str):
    shape, _ = WRONG[what]
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, live, server=hub, client=issue(live.node_issuer, shape, now=live.now))


@pytest.mark.parametrize("issuer", ["root", "hub_issuer"])
def test_the_hub_refuses_a_client_that_another_of_our_authorities_signed(
    tmp_path: Path, live: Mesh, hub: Credential, issuer: str
):
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, live, server=hub, client=issue(getattr(live, issuer), now=live.now))


def test_the_hub_refuses_a_client_of_an_authority_by_the_same_name(
    tmp_path: Path, live: Mesh, hub: Credential
):
    forger = lookalike(live.node_issuer, now=live.now)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, live, server=hub, client=issue(forger, now=live.now))


def test_the_hub_refuses_what_a_node_signed(tmp_path: Path, live: Mesh, hub: Credential, node: Credential):
    forger = Authority(node.key, node.chain.leaf)
    forged = issue(forger, now=live.now)
    client = Credential(forged.key, Chain((*forged.chain.certificates, live.node_issuer.certificate)))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, live, server=hub, client=client)


def test_the_hub_refuses_what_an_authority_below_the_issuers_signed(
    tmp_path: Path, live: Mesh, hub: Credential
):
    below = issue(live.node_issuer, Shape(uris=(), usages=(), is_authority=True), now=live.now)
    forged = issue(Authority(below.key, below.chain.leaf), now=live.now)
    client = Credential(forged.key, Chain((forged.chain.leaf, *below.chain.certificates)))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, live, server=hub, client=client)


def test_a_node_refuses_a_hub_that_what_signs_nodes_signed(tmp_path: Path, live: Mesh, node: Credential):
    shape = Shape(uris=(), dns=(HUB_SERVER_NAME,), usages=(SERVER,))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, live, server=issue(live.node_issuer, shape, now=live.now), client=node)


def test_a_node_refuses_a_hub_of_another_mesh(tmp_path: Path, live: Mesh, node: Credential):
    foreign = make_mesh(live.now)
    key = new_key()
    chain = foreign.hub_issuer.issue_hub(key.public_key(), node_name("h1"), now=live.now)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, live, server=Credential(key, chain), client=node)


def test_a_node_refuses_the_gateway_where_it_expects_the_hub(tmp_path: Path, live: Mesh, node: Credential):
    key = new_key()
    chain = live.hub_issuer.issue_gateway(key.public_key(), ["den.local", "127.0.0.1"], now=live.now)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(tmp_path, live, server=Credential(key, chain), client=node)


@pytest.mark.parametrize("name", ["den.local", "127.0.0.1", "::1"])
def test_a_browser_accepts_the_gateway_under_its_own_names(
    tmp_path: Path, live: Mesh, node: Credential, name: str
):
    key = new_key()
    hosts = ["den.local", "127.0.0.1", "::1"]
    chain = live.hub_issuer.issue_gateway(key.public_key(), hosts, now=live.now)
    handshake(tmp_path, live, server=Credential(key, chain), client=node, name=name)


def test_a_node_refuses_a_hub_that_has_expired(tmp_path: Path, live: Mesh, node: Credential):
    key = new_key()
    long_ago = live.now - timedelta(hours=25)
    chain = live.hub_issuer.issue_hub(key.public_key(), node_name("h1"), now=long_ago)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(tmp_path, live, server=Credential(key, chain), client=node)
