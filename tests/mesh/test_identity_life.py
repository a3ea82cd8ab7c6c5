"""The life of an identity against a real hub: approved, renewed, locked, lost for a while, revoked."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
import pytest

from hub.store.database import Database
from hub.store.nodes import Certified, NodeStore
from hubspoke import enrol
from hubspoke.admin import AdminClient
from hubspoke.api.enrolment.v1 import enrolment_pb2 as enrolment_pb
from hubspoke.api.enrolment.v1.enrolment_pb2_grpc import EnrolmentServiceStub
from hubspoke.api.identity.v1 import identity_pb2 as pb
from hubspoke.api.identity.v1.identity_pb2_grpc import IdentityServiceStub
from hubspoke.channel import CHANNEL_OPTIONS
from hubspoke.client import MeshClient
from hubspoke.clock import SystemClock
from hubspoke.credentials import anonymous_credentials
from hubspoke.errors import AlreadyEnrolled, MeshError, PermissionDenied, Unauthenticated
from hubspoke.rejoin import valid_identity
from hubspoke.types import HostMemory, Message, NodeInfo, NodeState, Request, Speaker
from hubspoke.wire import status
from pki import keys, policy
from pki.credential import Credential
from pki.files import NodeFiles
from pki.identity import Identity, NodeName, Role
from pki.proof import prove
from spoke.agent import Agent
from spoke.gpu.none import NoGpus
from spoke.link.machine import Machine
from tests.fakes.clock import MovableClock
from tests.fakes.engine import FakeEngine
from tests.fakes.engine import a_model as engine_model
from tests.fakes.pauses import pause
from tests.fakes.real_hub import POLL_S, WAIT_S, RealHub, real_hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from pathlib import Path

    from pki.credential import StoredIdentity

DAY_S = 86_400.0
ASK = Request("tiny", (Message(Speaker.USER, "hello"),))


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def hub(tmp_path: Path, clock: MovableClock) -> AsyncIterator[RealHub]:
    async with real_hub(tmp_path, clock) as running:
        yield running


def an_admin(hub: RealHub) -> AdminClient:
    return AdminClient(hub.admin.directory)


async def node(hub: RealHub, name: str) -> NodeInfo:
    async with an_admin(hub) as admin:
        (found,) = [node for node in await admin.nodes() if node.identity.name == name]
        return found


async def has_state(hub: RealHub, name: str, state: NodeState) -> NodeInfo:
    """Wait until the hub lists *name* in *state*. Asking again is all that an admin can do."""
    async with an_admin(hub) as admin, asyncio.timeout(WAIT_S):
        while True:
            for found in await admin.nodes():
                if (found.identity.name, found.state) == (name, state):
                    return found
            await pause(POLL_S)


async def renew(hub: RealHub, files: NodeFiles, current: StoredIdentity) -> StoredIdentity:
    async with await hub.channel(files) as channel:
        return await enrol.renew(channel, files, current, SystemClock())


def events_of(hub: RealHub) -> list[dict[str, object]]:
    lines = (hub.directory / "hub" / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


async def noted(hub: RealHub, **facts: object) -> dict[str, object]:
    """Wait until an event with *facts* is in the audit log, which its own thread writes, and give the newest."""
    async with asyncio.timeout(WAIT_S):
        while not (found := [line for line in events_of(hub) if facts.items() <= line.items()]):
            await pause(POLL_S)
    return found[-1]


class Joiner:
    """A machine that joins with a token which an operator has to approve, and the key that it has shown."""

    def __init__(self, hub: RealHub, name: str) -> None:
        self.directory = hub.directory / name
        self.shown: asyncio.Queue[enrol.Pending] = asyncio.Queue()

    async def join(self, token: str) -> StoredIdentity:
        return await enrol.join(
            token, self.directory, roles=[Role.SPOKE], clock=SystemClock(), waiting=self.shown.put_nowait
        )


@asynccontextmanager
async def a_joiner(hub: RealHub) -> AsyncIterator[tuple[enrol.Pending, asyncio.Task[StoredIdentity], str]]:
    async with an_admin(hub) as admin:
        token = (await admin.create_join_token("den", Role.SPOKE, needs_approval=True)).text
    joiner = Joiner(hub, "den")
    joining = asyncio.create_task(joiner.join(token))
    async with asyncio.timeout(WAIT_S):
        pending = await joiner.shown.get()
    yield pending, joining, token
    joining.cancel()
    await asyncio.wait([joining])


async def test_who_needs_approval_waits_for_it_and_shows_the_key_that_the_operator_sees(hub: RealHub) -> None:
    async with a_joiner(hub) as (pending, joining, _), an_admin(hub) as admin:
        listed = await has_state(hub, "den", NodeState.PENDING)
        assert (pending.name, pending.key) == ("den", listed.key)
        assert "hubspoke nodes approve den" in listed.why
        assert not joining.done()
        await admin.approve("den")
        async with asyncio.timeout(WAIT_S):
            identity = await joining
        assert identity.identity.name == "den"
    assert (await noted(hub, event="enrol.waiting"))["key"] == pending.key
    assert (await noted(hub, event="enrol.approved"))["by"] == "admin"
    assert (await noted(hub, event="enrol.ok"))["node"] == "den"


async def test_who_is_denied_hears_it_and_keeps_nothing(hub: RealHub) -> None:
    async with a_joiner(hub) as (_, joining, _token), an_admin(hub) as admin:
        await admin.deny("den")
        with pytest.raises(PermissionDenied, match="denied"):
            async with asyncio.timeout(WAIT_S):
                await joining
    files = NodeFiles(hub.directory / "den")
    assert files.load_token() is None
    assert not files.next_key.exists()


async def test_a_wait_that_was_broken_off_goes_on_with_the_token_that_it_kept(hub: RealHub) -> None:
    async with a_joiner(hub) as (_, joining, token):
        joining.cancel()
        await asyncio.wait([joining])
    files = NodeFiles(hub.directory / "den")
    kept = files.load_token()
    assert kept == token
    async with an_admin(hub) as admin:
        await admin.approve("den")
    async with asyncio.timeout(WAIT_S):
        assert (await Joiner(hub, "den").join(kept)).identity.name == "den"
    assert files.load_token() is None


async def test_a_node_that_was_off_for_a_weekend_comes_back_by_itself(
    hub: RealHub, clock: MovableClock
) -> None:
    files = await hub.join("laptop", Role.APP)
    before = files.load_identity()
    clock.move(3 * DAY_S)
    after = await valid_identity(files, clock)
    assert (after.identity, after.serial != before.serial) == (before.identity, True)
    assert after.not_after > clock.now()
    assert files.load_identity() == after
    assert not files.next_key.exists()


async def test_a_comeback_whose_answer_got_lost_gets_the_same_certificate(
    hub: RealHub, clock: MovableClock
) -> None:
    files = await hub.join("laptop", Role.APP)
    clock.move(3 * DAY_S)
    files.request_key()
    kept = {path: path.read_bytes() for path in (files.identity, files.next_key)}
    first = await valid_identity(files, clock)
    for path, data in kept.items():
        path.write_bytes(data)
        path.chmod(0o600)
    assert (await valid_identity(files, clock)).serial == first.serial


async def test_a_comeback_after_a_renewal_whose_answer_was_lost_days_ago_still_works(
    hub: RealHub, clock: MovableClock
) -> None:
    files = await hub.join("laptop", Role.APP)
    first = files.load_identity()
    files.request_key()
    kept = {path: path.read_bytes() for path in (files.identity, files.next_key)}
    await renew(hub, files, first)
    for path, data in kept.items():
        path.write_bytes(data)
        path.chmod(0o600)
    clock.move(3 * DAY_S)
    assert (await valid_identity(files, clock)).not_after > clock.now()
    assert (await noted(hub, event="enrol.ok"))["node"] == "laptop"
    assert all(event["event"] != "node.lock" for event in events_of(hub))


async def test_after_ninety_days_it_takes_a_new_token(hub: RealHub, clock: MovableClock) -> None:
    files = await hub.join("laptop", Role.APP)
    clock.move(92 * DAY_S)
    with pytest.raises(
        Unauthenticated, match=r"more than 90 days ago; .*`hubspoke token create laptop --role app`"
    ):
        await valid_identity(files, clock)


async def test_a_proof_with_another_key_or_for_another_request_is_refused_and_locks_nobody(
    hub: RealHub, clock: MovableClock
) -> None:
    files = await hub.join("laptop", Role.APP)
    current = files.load_identity()
    own, other = keys.key_from_pem(current.key_pem), keys.new_key()
    asks, something_else = (keys.certificate_request(keys.new_key()) for _ in range(2))
    clock.move(2 * DAY_S)
    credentials = anonymous_credentials(files.load_anchors(now=clock.now()))
    async with grpc.aio.secure_channel(hub.enrol, credentials, options=CHANNEL_OPTIONS) as channel:
        stub = EnrolmentServiceStub(channel)
        for key, signed in ((other, asks), (own, something_else)):
            nonce = (await stub.Challenge(enrolment_pb.ChallengeRequest())).nonce
            request = enrolment_pb.RejoinRequest(
                serial=current.serial,
                nonce=nonce,
                certificate_request=asks,
                proof=prove(key, nonce, signed),
            )
            assert isinstance(await error_of(stub.Rejoin(request)), Unauthenticated)
        nonce = (await stub.Challenge(enrolment_pb.ChallengeRequest())).nonce
        right = enrolment_pb.RejoinRequest(
            serial=current.serial, nonce=nonce, certificate_request=asks, proof=prove(own, nonce, asks)
        )
        assert (await stub.Rejoin(right)).membership.name == "laptop"
        # Nothing that was said can be said again: the number was good once.
        assert "try again" in str(await error_of(stub.Rejoin(right)))
    await noted(hub, reason="the proof was not made with the certificate's key")


async def test_a_thief_with_an_old_certificate_locks_the_node_and_cuts_its_calls(hub: RealHub) -> None:
    files = await hub.join("laptop", Role.APP)
    first = files.load_identity()
    async with await hub.channel(files) as stolen, MeshClient(files.directory) as client:
        await renew(hub, files, first)
        request = pb.RenewRequest(certificate_request=keys.certificate_request(keys.new_key()))
        assert isinstance(await error_of(IdentityServiceStub(stolen).Renew(request)), Unauthenticated)
        with pytest.raises(Unauthenticated, match="hubspoke nodes list"):
            await client.models()
        locked = await node(hub, "laptop")
        assert (locked.state, locked.generation) == (NodeState.LOCKED, 2)
        assert "`hubspoke nodes unlock laptop`" in locked.why
        assert (await noted(hub, event="renew.generation_mismatch"))["serial"] == first.serial
        assert (await noted(hub, event="node.lock"))["node"] == "laptop"
        async with an_admin(hub) as admin:
            with pytest.raises(AlreadyEnrolled, match="hubspoke nodes unlock laptop"):
                await admin.create_join_token("laptop", Role.APP)
            await admin.unlock("laptop")
        await client.models()


async def test_a_locked_node_that_comes_back_hears_what_to_run(hub: RealHub, clock: MovableClock) -> None:
    files = await hub.join("laptop", Role.APP)
    first = files.load_identity()
    async with await hub.channel(files) as stolen:
        await renew(hub, files, first)
        request = pb.RenewRequest(certificate_request=keys.certificate_request(keys.new_key()))
        await error_of(IdentityServiceStub(stolen).Renew(request))
    clock.move(2 * DAY_S)
    with pytest.raises(Unauthenticated, match="`hubspoke nodes unlock laptop`"):
        await valid_identity(files, clock)


async def test_a_revocation_cuts_a_live_answer_and_refuses_new_calls(hub: RealHub) -> None:
    app = await hub.join("laptop", Role.APP)
    async with hub.spoke("den") as spoke, MeshClient(app.directory) as client, an_admin(hub) as admin:
        answer = asyncio.create_task(client.answer(ASK))
        slot, assignment = await spoke.assigned()
        await admin.revoke("laptop")
        with pytest.raises(Unauthenticated):
            async with asyncio.timeout(WAIT_S):
                await answer
        # What ran for it is called off, so that the slot is free again.
        assert (await slot.cancel()).attempt == assignment.attempt
        with pytest.raises(Unauthenticated):
            await client.models()
    # Cut at once, by the revocation itself, and not some seconds later by the sweep.
    event = await noted(hub, event="node.revoke")
    assert (event["node"], event["by"], event["calls"]) == ("laptop", "admin", 1)


async def test_a_revoked_spoke_loses_its_streams_and_its_listing(hub: RealHub) -> None:
    async with hub.spoke("den") as spoke, an_admin(hub) as admin:
        await admin.revoke("den")
        async with asyncio.timeout(WAIT_S):
            for call in (spoke.beats, *(slot.call for slot in spoke.slots)):
                assert await call.code() is grpc.StatusCode.UNAUTHENTICATED
        assert [spoke.state.value for spoke in await admin.spokes()] == ["lost"]
    # All of them at once: see above.
    assert (await noted(hub, event="node.revoke"))["calls"] == 3


async def test_a_revoked_node_hears_what_to_run_and_its_name_comes_in_with_a_new_token(hub: RealHub) -> None:
    files = await hub.join("laptop", Role.APP)
    late = MovableClock()
    late.move(2 * DAY_S)  # on that machine the certificate has ended
    async with an_admin(hub) as admin:
        await admin.revoke("laptop")
    with pytest.raises(Unauthenticated, match=r"revoked; .*`hubspoke token create laptop --role app`"):
        await valid_identity(files, late)
    again = await hub.join("laptop", Role.APP, directory="again")
    async with MeshClient(again.directory) as client:
        await client.models()
    assert (await node(hub, "laptop")).generation == 2


async def test_a_certificate_that_ends_while_a_stream_runs_ends_the_stream(
    hub: RealHub, clock: MovableClock
) -> None:
    async with hub.spoke("den") as spoke:
        clock.set_day(DAY_S + 60)
        async with asyncio.timeout(WAIT_S):
            assert await spoke.beats.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_what_another_process_changes_in_the_store_is_heard(hub: RealHub) -> None:
    files = await hub.join("laptop", Role.APP)
    async with MeshClient(files.directory) as client:
        await client.models()
        database = await Database.open(hub.directory / "hub" / "state.db")
        await NodeStore(database).revoke("laptop", SystemClock().now().timestamp())
        await database.close()
        async with asyncio.timeout(WAIT_S):
            while await works(client):
                await pause(POLL_S)


async def works(client: MeshClient) -> bool:
    try:
        await client.models()
    except Unauthenticated:
        return False
    return True


async def test_an_agent_whose_certificate_has_ended_is_in_the_mesh_again_without_anybody(
    hub: RealHub,
) -> None:
    files = await away_since_yesterday(hub, "den", Role.SPOKE)
    machine = Machine([FakeEngine(engine_model())], NoGpus(), lambda: HostMemory(1 << 34, 1 << 33))
    agent = Agent(files, machine, hubs=(), slots=1, version="test", clock=SystemClock(), chance=lambda: 0.01)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(agent.run())
        await hub.is_listed("den", 1)
        task.cancel()
    assert (await node(hub, "den")).generation == 2


async def test_an_app_whose_certificate_has_ended_asks_as_ever(hub: RealHub) -> None:
    files = await away_since_yesterday(hub, "laptop", Role.APP)
    async with MeshClient(files.directory) as client:
        await client.models()


async def away_since_yesterday(hub: RealHub, name: str, role: Role) -> NodeFiles:
    """A node that the hub knows, and whose certificate has ended an hour ago."""
    identity, key = Identity(role, NodeName(name)), keys.new_key()
    made_at = SystemClock().now() - timedelta(hours=25)
    chain = hub.made.hub.authorities.load_node_issuer().issue_node(key.public_key(), identity, now=made_at)
    certified = Certified(
        identity=identity,
        serial=policy.serial_hex(chain.leaf),
        public_key=keys.public_bytes(key.public_key()),
        chain_pem=chain.pem,
        expires_at=chain.leaf.not_valid_after_utc.timestamp(),
    )
    database = await Database.open(hub.made.hub.state)
    await NodeStore(database).adopt(certified, made_at.timestamp())
    await database.close()
    files = NodeFiles(hub.directory / name)
    files.save(Credential(key, chain), hub.made.hub.anchors.read_bytes(), generation=1)
    files.save_addresses(hub.admin.load_addresses())
    return files


async def error_of(call: Awaitable[object]) -> MeshError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return status.error_of(caught.value)
