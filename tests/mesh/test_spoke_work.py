"""What runs on a slot of a spoke, with a hub that says what the test tells it to, over mutual TLS."""

from __future__ import annotations

import asyncio

import pytest

from hubspoke.api.inference.v1 import inference_pb2
from hubspoke.api.mesh.v1 import mesh_pb2 as pb
from hubspoke.api.types.v1 import types_pb2
from hubspoke.errors import EngineCrashed
from hubspoke.wire import times
from tests.fakes.engine import FakeEngine, Gate, a_model
from tests.fakes.linked_spoke import ASK, COLD, TINY, a_spoke, text_of
from tests.fakes.mesh_hub import Mesh, MeshHub, soon


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return Mesh()


async def test_an_answer_comes_as_the_client_gets_it(mesh):
    engine = FakeEngine(TINY, script=["Hello", " ", "world"])
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, engine):
        slot = await hub.slot()
        await slot.assign(1, TINY, ASK)
        chunks, last = await slot.hear_answer()
        finished = inference_pb2.InferResponse.FromString(last.body).finished
        assert text_of(chunks) == "Hello world"
        assert sum(chunk.tokens for chunk in chunks) == 3
        assert last.attempt == 1
        assert last.finish == finished.reason == types_pb2.FINISH_REASON_STOP
        assert last.usage == finished.usage
        assert engine.requests[0].prompt == "Say hello"


async def test_a_slot_serves_one_request_after_the_other(mesh):
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, FakeEngine(TINY)):
        slot = await hub.slot()
        for attempt in range(1, 51):
            await slot.assign(attempt, TINY, ASK)
            chunks, last = await slot.hear_answer()
            assert (text_of(chunks), last.attempt) == ("Hello world", attempt)


async def test_the_first_token_does_not_wait_for_the_second(mesh):
    gate = Gate()
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, FakeEngine(TINY, script=["A", gate, "B"])):
        slot = await hub.slot()
        await slot.assign(1, TINY, ASK)
        first = await slot.hear()
        gate.open()
        chunks, _ = await slot.hear_answer()
        assert text_of([first.chunk]) == "A"
        assert text_of(chunks) == "B"


async def test_tokens_that_come_at_once_share_a_message(mesh):
    engine = FakeEngine(TINY, script=["x"] * 500)
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, engine):
        slot = await hub.slot()
        await slot.assign(1, TINY, ASK)
        chunks, _ = await slot.hear_answer()
        assert text_of(chunks) == "x" * 500
        assert len(chunks) < 50


async def test_an_engine_waits_for_a_hub_that_does_not_read(mesh):
    engine = FakeEngine(TINY, script=["x" * 10_000] * 2_000)
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, engine):
        slot = await hub.slot()
        await slot.assign(1, TINY, ASK)
        chunks, _ = await slot.hear_answer()
        assert sum(chunk.tokens for chunk in chunks) == 2_000
        assert max(len(chunk.body) for chunk in chunks) < 64_000


@pytest.mark.parametrize("moment", range(6))
async def test_a_cancel_at_any_moment_leaves_the_slot_clean(mesh, moment):
    gates = [Gate() for _ in range(6)]
    steps = [step for number, gate in enumerate(gates) for step in (gate, f"{number}")]
    engine = FakeEngine(TINY, script=steps)
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, engine) as spoke:
        slot = await hub.slot()
        await slot.assign(1, TINY, ASK)
        for gate in gates[:moment]:
            gate.open()
        await soon(gates[moment].reached.wait())
        await slot.cancel(1)
        chunks, last = await slot.hear_answer()
        assert last.finish == types_pb2.FINISH_REASON_CANCELLED
        assert text_of(chunks) == "012345"[: len(text_of(chunks))]
        assert engine.running == 0
        assert spoke.machine.idle.is_set()
        engine.script = ("next",)
        await slot.assign(2, TINY, ASK)
        chunks, last = await slot.hear_answer()
        assert (text_of(chunks), last.attempt) == ("next", 2)


async def test_a_cancel_right_behind_the_assignment_is_heard(mesh):
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, FakeEngine(TINY, script=[Gate()])):
        slot = await hub.slot()
        await slot.assign(1, TINY, ASK)
        await slot.cancel(1)
        _, last = await slot.hear_answer()
        assert last.finish == types_pb2.FINISH_REASON_CANCELLED


async def test_a_cancel_of_an_attempt_that_has_ended_is_ignored(mesh):
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, FakeEngine(TINY)):
        slot = await hub.slot()
        await slot.assign(1, TINY, ASK)
        await slot.hear_answer()
        await slot.cancel(1)
        await slot.assign(2, TINY, ASK)
        await slot.cancel(1)
        chunks, _ = await slot.hear_answer()
        assert text_of(chunks) == "Hello world"


async def test_an_answer_that_is_too_late_is_stopped(mesh):
    engine = FakeEngine(TINY, script=["A", Gate()])
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, engine):
        slot = await hub.slot()
        await slot.assign(1, TINY, ASK, pb.Assignment(timeout=times.duration(0.05)))
        _, last = await slot.hear_answer()
        assert last.failure.reason == "deadline_exceeded"
        assert engine.running == 0


async def test_a_failure_of_the_engine_comes_after_the_text_before_it(mesh):
    engine = FakeEngine(TINY, script=["A", "B", EngineCrashed("the engine died")])
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, engine):
        slot = await hub.slot()
        await slot.assign(1, TINY, ASK)
        chunks, last = await slot.hear_answer()
        assert text_of(chunks) == "AB"
        assert (last.failure.reason, last.failure.message) == ("engine_crashed", "the engine died")


async def test_a_defect_ends_one_answer_and_tells_nothing_of_our_insides(mesh):
    engine = FakeEngine(TINY, script=[ValueError("secret path")])
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, engine):
        slot = await hub.slot()
        await slot.assign(1, TINY, ASK)
        _, last = await slot.hear_answer()
        assert last.failure.reason == "internal"
        assert "secret" not in last.failure.message
        engine.script = ("fine",)
        await slot.assign(2, TINY, ASK)
        chunks, _ = await slot.hear_answer()
        assert text_of(chunks) == "fine"


async def test_a_request_that_is_none_fails_for_good(mesh):
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, FakeEngine(TINY)):
        slot = await hub.slot()
        await slot.assign(1, TINY, ASK, pb.Assignment(request=b"\xff\xff"))
        _, last = await slot.hear_answer()
        assert last.failure.reason == "invalid_request"


@pytest.mark.parametrize(
    ("model", "but"),
    [
        (COLD, pb.Assignment()),
        (TINY, pb.Assignment(model_digest="sha256:" + "b" * 64)),
        (TINY, pb.Assignment(options=pb.ModelOptions(context_tokens=9_999))),
        (TINY, pb.Assignment(engine="other")),
    ],
    ids=["cold", "another digest", "a longer context", "another engine"],
)
async def test_what_is_not_there_any_more_is_declined(mesh, model, but):
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, FakeEngine(TINY, COLD)):
        slot = await hub.slot()
        await slot.assign(1, model, ASK, but)
        assert (await slot.hear()).declined.failure.reason == "model_not_loaded"
        await slot.assign(2, TINY, ASK)
        chunks, _ = await slot.hear_answer()
        assert text_of(chunks) == "Hello world"


async def test_a_model_runs_no_more_requests_than_it_has_slots(mesh):
    engine = FakeEngine(a_model(slots=1), script=[gate := Gate(), "done"])
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, engine, slots=2):
        one, other = await hub.slot(), await hub.slot()
        await one.assign(1, TINY, ASK)
        await soon(gate.reached.wait())
        await other.assign(2, TINY, ASK)
        assert (await other.hear()).declined.failure.reason == "slot_taken"
        gate.open()
        chunks, _ = await one.hear_answer()
        assert text_of(chunks) == "done"


@pytest.mark.parametrize(
    "say",
    [
        lambda slot: slot.say_bytes(b"\xff\xff\xff"),
        lambda slot: slot.say(pb.WorkResponse()),
        lambda slot: slot.assign(0, TINY, ASK),
        lambda slot: slot.assign(8, TINY, ASK),
    ],
    ids=["no message", "an empty message", "no attempt", "an attempt while another one runs"],
)
async def test_a_hub_that_makes_no_sense_gets_a_new_session(mesh, say):
    engine = FakeEngine(TINY, script=[gate := Gate()])
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, engine, slots=2):
        slot, other = await hub.slot(), await hub.slot()
        await slot.assign(7, TINY, ASK)
        await soon(gate.reached.wait())
        await say(slot)
        await soon(slot.ended.wait())
        await soon(other.ended.wait())
        await soon(engine.closed.acquire())
        assert engine.running == 0
        assert (await hub.slot()).opened.session == 2


async def test_the_hub_can_ask_for_longer_gathering(mesh):
    hub = MeshHub(heartbeat_s=0.05)
    hub.flush_s = 0.050
    engine = FakeEngine(TINY, script=["A", gate := Gate(), "B", Gate()])
    async with mesh.serving(hub), a_spoke(mesh, engine):
        slot = await hub.slot()
        await hub.is_heard()
        began_at = asyncio.get_running_loop().time()
        await slot.assign(1, TINY, ASK)
        await slot.hear()
        gate.open()
        await slot.hear()
        # Counted from before the first token, so that no stall makes it less.
        assert asyncio.get_running_loop().time() - began_at >= hub.flush_s


async def test_cancels_that_race_with_the_answer_leave_the_slot_clean(mesh):
    # Long texts, so that engine, writer and hub take turns; the cancel meets whatever is under way then.
    engine = FakeEngine(TINY, script=["x" * 5_000] * 80)
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, engine) as spoke:
        slot = await hub.slot()
        for attempt in range(1, 61):
            await slot.assign(attempt, TINY, ASK)
            for _ in range(attempt % 12):
                message = await slot.hear()
                assert message.chunk.attempt == attempt
            await slot.cancel(attempt)
            _, last = await slot.hear_answer()
            assert last.attempt == attempt
            assert engine.running == 0
            assert spoke.machine.idle.is_set()
