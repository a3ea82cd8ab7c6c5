"""Joining and renewing against the hub's own enrolment: its store, its rules, its two ports."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from hub.identities import Identities
from hub.rpc.enrolment import EnrolmentService
from hub.rpc.identity import IdentityService
from hub.rpc.interceptors import enrol_gate, mesh_gate
from hub.store.mesh import Store
from hubspoke import enrol
from hubspoke.api.enrolment.v1.enrolment_pb2_grpc import add_EnrolmentServiceServicer_to_server
from hubspoke.api.identity.v1.identity_pb2_grpc import add_IdentityServiceServicer_to_server
from hubspoke.channel import dial
from hubspoke.clock import SystemClock
from hubspoke.credentials import channel_credentials
from hubspoke.errors import Unauthenticated
from pki.address import Address
from pki.credential import StoredIdentity
from pki.files import NodeFiles
from pki.identity import Role
from pki.tokens import JoinToken
from tests.fakes.hub import MeshOnDisk, make_mesh

CLOCK = SystemClock()


class Port:
    """The enrolment half of a real hub: where its two ports are, and who makes its tokens."""

    def __init__(self, identities: Identities, enrol_address: str, mesh_address: str) -> None:
        self.identities = identities
        self.enrol = enrol_address
        self.mesh = mesh_address

    async def token(self, name: str, role: Role = Role.SPOKE) -> str:
        return (await self.identities.create_token(name, role, None, [Address(self.enrol)])).text


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> MeshOnDisk:
    return make_mesh(tmp_path_factory.mktemp("mesh"))


@pytest.fixture
async def hub(mesh: MeshOnDisk, tmp_path: Path) -> AsyncIterator[Port]:
    store = await Store.open(tmp_path / "state.db")
    anchors = mesh.hub.load_anchors(now=datetime.now(UTC))
    identities = Identities(store, mesh.hub.authorities.load_node_issuer(), anchors, CLOCK)
    own = mesh.hub.load_identity()
    pair = (own.key_pem, own.chain_pem)
    mutual = grpc.ssl_server_credentials([pair], identities.issuer_pem, require_client_auth=True)
    async with (
        serving(mesh_gate(identities), mutual) as (mesh_server, mesh_address),
        serving(enrol_gate(), grpc.ssl_server_credentials([pair])) as (enrol_server, enrol_address),
    ):
        add_IdentityServiceServicer_to_server(IdentityService(identities, CLOCK), mesh_server)
        service = EnrolmentService(identities, [Address(mesh_address)])
        add_EnrolmentServiceServicer_to_server(service, enrol_server)
        await mesh_server.start()
        await enrol_server.start()
        yield Port(identities, enrol_address, mesh_address)
    await store.close()


@asynccontextmanager
async def serving(
    gate: grpc.aio.ServerInterceptor, credentials: grpc.ServerCredentials
) -> AsyncIterator[tuple[grpc.aio.Server, str]]:
    server = grpc.aio.server(interceptors=[gate])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    try:
        yield server, f"127.0.0.1:{port}"
    finally:
        await server.stop(grace=None)


async def join(token: str, directory: Path) -> StoredIdentity:
    return await enrol.join(token, directory, roles=[Role.SPOKE], clock=CLOCK)


async def renew(files: NodeFiles, current: StoredIdentity) -> StoredIdentity:
    credentials = channel_credentials(current, files.load_anchors(now=CLOCK.now()))
    async with await dial(files.load_addresses().mesh, credentials) as channel:
        return await enrol.renew(channel, files, current, CLOCK)


async def test_a_spoke_joins_with_one_pasted_line(hub: Port, tmp_path: Path):
    identity = await join(await hub.token("den"), tmp_path / "den")
    assert identity.identity.uri == "spiffe://hubspoke.internal/spoke/den"
    assert NodeFiles(tmp_path / "den").load_addresses().mesh == (hub.mesh,)
    assert timedelta(hours=23) < identity.not_after - CLOCK.now() <= timedelta(hours=24)


async def test_a_token_lets_one_machine_in(hub: Port, tmp_path: Path):
    token = await hub.token("den")
    await join(token, tmp_path / "first")
    with pytest.raises(Unauthenticated, match="used already"):
        await join(token, tmp_path / "second")


async def test_a_token_that_was_guessed_does_not_burn_the_real_one(hub: Port, tmp_path: Path):
    token, other = await hub.token("den"), await hub.token("attic")
    parts, stranger = JoinToken.parse(token), JoinToken.parse(other)
    forged = JoinToken(parts.id, stranger.secret, parts.root, parts.addresses)
    with pytest.raises(Unauthenticated):
        await join(forged.text, tmp_path / "thief")
    assert (await join(token, tmp_path / "den")).identity.name == "den"


async def test_a_joined_machine_renews_over_its_own_connection(hub: Port, tmp_path: Path):
    files = NodeFiles(tmp_path / "den")
    first = await join(await hub.token("den"), files.directory)
    second = await renew(files, first)
    assert second.serial != first.serial
    assert (await renew(files, second)).identity == first.identity


async def test_a_renewal_whose_answer_got_lost_gets_the_same_certificate(hub: Port, tmp_path: Path):
    files = NodeFiles(tmp_path / "den")
    first = await join(await hub.token("den"), files.directory)
    before_the_crash = files.identity.read_bytes()
    files.request_key()
    key = files.next_key.read_bytes()
    second = await renew(files, first)
    restore(files, before_the_crash, key)
    assert (await renew(files, first)).serial == second.serial


def restore(files: NodeFiles, identity_pem: bytes, next_key_pem: bytes) -> None:
    """Put back what a machine has on disk that lost power between the question and the answer."""
    files.identity.write_bytes(identity_pem)
    files.next_key.write_bytes(next_key_pem)
    files.next_key.chmod(0o600)
