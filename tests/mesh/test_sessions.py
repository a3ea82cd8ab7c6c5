"""Spokes that come, go and misbehave, against a real hub."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import pytest

from hub.relay.sessions import BUSY_JOBS
from hubspoke.admin import AdminClient
from hubspoke.api.mesh.v1 import mesh_pb2 as pb
from hubspoke.errors import InvalidRequest, MeshError, ProtocolViolation, SessionReplaced
from hubspoke.types import Delta, FinishReason, Message, Request, Speaker, SpokeState
from hubspoke.wire import answers, inventory, requests, status
from pki.identity import Role
from tests.fakes.real_hub import OTHER_DIGEST, WAIT_S, a_model, an_inventory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hubspoke.types import SpokeStatus
    from tests.fakes.real_hub import RealHub, ScriptedSlot, ScriptedSpoke

HELLO = Request("tiny", (Message(Speaker.USER, "hello"),))


@asynccontextmanager
async def ends_with(kind: type[MeshError], says: str = "") -> AsyncIterator[None]:
    """Expect a call to fail with an error of ours."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with asyncio.timeout(WAIT_S):
            yield
    error = status.error_of(caught.value)
    assert type(error) is kind, error
    assert says in str(error)


async def status_of(hub: RealHub, name: str) -> SpokeStatus:
    async with AdminClient(hub.admin.directory) as admin:
        return next(spoke for spoke in await admin.spokes() if spoke.name == name)


async def asks_fine(hub: RealHub, slot: ScriptedSlot) -> None:
    """Whatever happened: the slot does its work."""
    async with hub.app("asker") as app:
        asked = asyncio.create_task(app.answer(HELLO))
        await slot.answer("fine")
        assert (await asked).text == "fine"


async def test_a_spoke_is_listed_with_all_that_it_has(hub: RealHub) -> None:
    async with hub.spoke("den", a_model(), a_model("big", digest="", loaded=False), slots=2):
        den = await status_of(hub, "den")
    assert (den.state, den.slots, den.busy, den.agent_version) == (SpokeState.READY, 2, 0, "test")
    assert [model.name for model in den.inventory.models] == ["tiny", "big"]
    assert den.inventory.memory.available_bytes > 0


async def test_a_goodbye_is_told_apart_from_a_loss(hub: RealHub) -> None:
    async with hub.spoke("polite") as polite, hub.spoke("torn") as torn:
        await polite.beat(goodbye=pb.Goodbye(why="going home"))
        torn.beats.cancel()
        assert await polite.beats.read() is grpc.aio.EOF
        async with ends_with(SessionReplaced):
            await torn.slots[0].read()
        assert (await status_of(hub, "polite")).state is SpokeState.LEFT
        assert (await status_of(hub, "torn")).state is SpokeState.LOST


async def test_the_end_of_an_answer_that_a_goodbye_has_overtaken_is_not_lost(hub: RealHub) -> None:
    async with hub.app() as app, hub.spoke("den", slots=2) as den:
        asked = asyncio.create_task(app.answer(HELLO))
        slot, assignment = await den.assigned()
        await den.beat(goodbye=pb.Goodbye(why="going home"))
        assert await den.beats.read() is grpc.aio.EOF
        await slot.delta(assignment.attempt, "to the end")
        await slot.last(assignment.attempt)
        assert (await asked).text == "to the end"
        await slot.call.done_writing()
        assert await slot.read() is grpc.aio.EOF


async def test_a_draining_spoke_ends_its_work_and_gets_no_more(hub: RealHub) -> None:
    async with hub.app() as app, hub.spoke("den", slots=2) as den:
        first = asyncio.create_task(app.answer(HELLO))
        slot, assignment = await den.assigned()
        await den.beat(draining=True)
        assert (await status_of(hub, "den")).state is SpokeState.DRAINING
        second = asyncio.create_task(app.answer(HELLO))
        await slot.last(assignment.attempt)
        await first
        with pytest.raises(MeshError, match="den"):
            await second


async def test_the_newest_session_of_a_spoke_wins(hub: RealHub) -> None:
    async with hub.spoke("den", slots=1) as den:
        old_beats, old_slot = den.beats, den.slots[0]
        await den.register(an_inventory(a_model()), 1)
        async with ends_with(SessionReplaced, "registered again"):
            await old_slot.read()
        async with ends_with(SessionReplaced, "registered again"):
            await old_beats.read()
        den.slots.clear()
        await asks_fine(hub, await den.open(0))


async def test_a_session_that_replaces_another_goes_on_with_its_answers_and_orders(hub: RealHub) -> None:
    cold = a_model("big", digest="", loaded=False)
    async with (
        hub.app() as app,
        hub.spoke("den", a_model(), cold, slots=2) as den,
        AdminClient(hub.admin.directory) as admin,
    ):
        loading = asyncio.create_task(anext(admin.load("big")))
        order = (await den.directives()).directives[0]
        asked = asyncio.create_task(app.answer(HELLO))
        busy, assignment = await den.assigned()
        (idle,) = (slot for slot in den.slots if slot is not busy)
        former, beats = den.session, den.beats
        async with hub.connected_again("den") as again:
            await again.register(an_inventory(a_model(), cold), replaces=former)
            # The idle slot ends well, the busy one stays until its Last.
            assert await idle.read() is grpc.aio.EOF
            assert await idle.call.code() is grpc.StatusCode.OK
            assert (await status_of(hub, "den")).busy == 1
            # What the older heartbeat says last still counts; then it may end.
            result = pb.DirectiveResult(id=order.id)
            await beats.write(pb.HeartbeatRequest(session=former, sequence=9, results=[result]))
            await beats.done_writing()
            async with asyncio.timeout(WAIT_S):
                await loading
            await busy.delta(assignment.attempt, "fine")
            await busy.last(assignment.attempt)
            assert (await asked).text == "fine"
            assert await busy.read() is grpc.aio.EOF
            assert await busy.call.code() is grpc.StatusCode.OK
            await again.beat()
            await asks_fine(hub, await again.open(0))


async def test_a_session_cannot_replace_one_of_somebody_else_or_of_long_ago(hub: RealHub) -> None:
    async with hub.spoke("den") as den, hub.spoke("attic") as attic, hub.connected_again("attic") as again:
        await again.register(an_inventory(a_model()), replaces=den.session)
        async with ends_with(SessionReplaced, "registered again"):
            await attic.slots[0].read()
        assert (await den.beat()).sequence == 2


async def test_a_stream_of_a_session_that_never_was_is_refused(hub: RealHub) -> None:
    async with hub.spoke("den", slots=1) as den:
        den.session += 1
        async with ends_with(SessionReplaced, "register again"):
            await (await den.open(0, offer=False)).read()


async def test_a_spoke_cannot_speak_in_the_session_of_another(hub: RealHub) -> None:
    async with (
        hub.spoke("den", slots=1) as den,
        hub.spoke("attic", a_model("other", digest=OTHER_DIGEST)) as attic,
    ):
        den.session, own = attic.session, den.session
        async with ends_with(SessionReplaced):
            slot = await den.open(0, offer=False)  # what is said after the end would make another error of it
            await slot.read()
        den.session = own
        await attic.beat()  # whose session goes on
        await asks_fine(hub, den.slots[0])


@pytest.mark.parametrize("number", [1, 7, 4_000_000_000])
async def test_a_slot_beyond_those_that_were_registered_is_refused(hub: RealHub, number: int) -> None:
    async with hub.spoke("den", slots=1) as den:
        async with ends_with(ProtocolViolation, "registered 1"):
            await (await den.open(number, offer=False)).read()
        await asks_fine(hub, den.slots[0])


async def test_a_slot_cannot_be_opened_twice(hub: RealHub) -> None:
    async with hub.spoke("den", slots=1) as den:
        async with ends_with(ProtocolViolation, "open already"):
            await (await den.open(0, offer=False)).read()
        await asks_fine(hub, den.slots[0])


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ({"chunk": pb.Chunk(attempt=1, body=b"x", tokens=1)}, "Chunk"),
        ({"declined": pb.Declined(attempt=1)}, "Declined"),
        ({"offer": pb.Offer()}, "Offer"),
        ({"open": pb.Open()}, "once"),
        ({}, "nothing"),
        ({"last": pb.Last(attempt=1)}, "neither"),
    ],
)
async def test_what_may_not_be_said_on_an_idle_slot_ends_that_slot_alone(
    hub: RealHub, says: dict[str, object], why: str
) -> None:
    async with hub.spoke("den", slots=2) as den:
        bad, good = den.slots
        await bad.say(**says)
        async with ends_with(ProtocolViolation, why):
            await bad.read()
        await asks_fine(hub, good)


async def test_a_chunk_after_last_ends_the_slot_and_not_the_answer(hub: RealHub) -> None:
    async with hub.app() as app, hub.spoke("den", slots=1) as den:
        slot = den.slots[0]
        asked = asyncio.create_task(app.answer(HELLO))
        assignment = await slot.answer("all of it")
        await slot.delta(assignment.attempt, " and more")
        async with ends_with(ProtocolViolation, "Chunk"):
            await slot.read()
        assert (await asked).text == "all of it"


async def test_garbage_on_a_work_stream_ends_that_stream_alone(hub: RealHub) -> None:
    async with hub.spoke("den", slots=1) as den:
        raw = den.channel.stream_stream("/hubspoke.api.mesh.v1.MeshService/Work")()
        await raw.write(b"\xff\xfe garbage")
        with pytest.raises(grpc.aio.AioRpcError):
            await raw.read()
        await asks_fine(hub, den.slots[0])


async def test_garbage_in_an_answer_is_the_clients_to_refuse_and_costs_no_slot(hub: RealHub) -> None:
    async with hub.app() as app, hub.spoke("den", slots=1) as den:
        slot = den.slots[0]
        asked = asyncio.create_task(app.answer(HELLO))
        assignment = await slot.assignment()
        await slot.say(chunk=pb.Chunk(attempt=assignment.attempt, body=b"\xff\xff", tokens=1))
        with pytest.raises(MeshError):
            await asked
        await slot.cancel()
        await slot.last(assignment.attempt, FinishReason.CANCELLED)
        await asks_fine(hub, slot)


async def test_a_withdrawn_slot_gets_no_work_until_it_is_offered_again(hub: RealHub) -> None:
    async with hub.app() as app, hub.spoke("den", slots=2) as den:
        asked = asyncio.create_task(app.answer(HELLO))
        two, assignment = await den.assigned()
        (one,) = (slot for slot in den.slots if slot is not two)
        await two.say(withdraw=pb.Withdraw())
        await two.last(assignment.attempt)
        await asked
        for _ in range(2):
            asked = asyncio.create_task(app.answer(HELLO))
            await one.answer("x")
            await asked
        asked = asyncio.create_task(app.answer(HELLO))
        assignment = await one.assignment()
        await one.say(withdraw=pb.Withdraw())
        await one.last(assignment.attempt)
        await asked
        await two.say(offer=pb.Offer())
        await asks_fine(hub, two)


async def test_an_inventory_that_makes_no_sense_is_refused(hub: RealHub) -> None:
    async with hub.spoke("den", slots=1) as den:
        twice = an_inventory(a_model(), a_model())
        request = pb.RegisterRequest(inventory=inventory.to_wire(twice), slots=1, agent_version="x")
        async with ends_with(InvalidRequest, "twice"):
            await den.stub.Register(request)
        request.slots = 100_000
        async with ends_with(InvalidRequest, "slots"):
            await den.stub.Register(request)
        async with ends_with(InvalidRequest, "twice"):
            await den.beat(twice)
            await den.beats.read()


async def test_speeds_are_measured_and_outlive_the_session(hub: RealHub) -> None:
    async with hub.app() as app, hub.spoke("den", slots=1) as den:
        asked = asyncio.create_task(app.answer(HELLO))
        await den.slots[0].answer("x")
        await asked
        await den.register(an_inventory(a_model()), 1)
        (summary,) = await app.models()
    assert summary.replicas[0].decode_tokens_per_s == pytest.approx(9 / 0.09)


async def test_spokes_are_asked_to_gather_tokens_when_much_runs(hub: RealHub) -> None:
    crowd = a_model(slots=BUSY_JOBS)
    async with hub.app() as app, hub.spoke("den", crowd, slots=BUSY_JOBS) as den:
        calm_s = await flush_s(den)
        asked = [asyncio.create_task(app.answer(HELLO)) for _ in range(BUSY_JOBS)]
        assignments = await asyncio.gather(*(slot.assignment() for slot in den.slots))
        busy_s = await flush_s(den)
        for slot, assignment in zip(den.slots, assignments, strict=True):
            await slot.last(assignment.attempt)
        await asyncio.gather(*asked)
        calm_again_s = await flush_s(den)
    assert (calm_s, busy_s, calm_again_s) == pytest.approx((0.015, 0.050, 0.015))


async def flush_s(spoke: ScriptedSpoke) -> float:
    """How long *spoke* is to gather tokens."""
    return (await spoke.beat()).flush_interval.ToTimedelta().total_seconds()


async def test_an_answer_is_only_what_the_spoke_has_encoded(hub: RealHub) -> None:
    """The hub neither reads nor rewrites what passes through: unknown fields arrive as they were sent."""
    async with hub.spoke("den", slots=1) as den:
        app = await hub.join("raw", Role.APP)
        channel = await hub.channel(app)
        call = channel.unary_stream("/hubspoke.api.inference.v1.InferenceService/Infer")(
            requests.request_to_wire(HELLO).SerializeToString()
        )
        assignment = await den.slots[0].assignment()
        body = answers.delta_bytes(Delta("x")) + b"\xfa\x3f\x03new"
        await den.slots[0].say(chunk=pb.Chunk(attempt=assignment.attempt, body=body, tokens=1))
        await den.slots[0].last(assignment.attempt)
        messages = [message async for message in call]
        await channel.close()
    assert (
        messages[-2] == body
    )  # before its Last, and after Started, and Waiting where the slot was not heard of yet
