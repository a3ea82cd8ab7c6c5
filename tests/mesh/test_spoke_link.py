"""Sessions, heartbeats and farewells of a spoke, with a hub that says what the test tells it to, over mutual TLS."""

from __future__ import annotations

import asyncio
import errno
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from hubspoke.api.mesh.v1 import mesh_pb2 as pb
from hubspoke.errors import Unauthenticated, Unreachable
from spoke.core.lifecycle import Phase
from tests.fakes.engine import FakeEngine, Gate
from tests.fakes.linked_spoke import ASK, COLD, TINY, a_spoke, text_of
from tests.fakes.mesh_hub import Mesh, MeshHub, soon

if TYPE_CHECKING:
    import grpc

LOAD = pb.LoadModel(engine="fake", model="cold", context_tokens=4096)


class MeshOnABadDisk(Mesh):
    """A mesh whose keys cannot be read for the first two times."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = [
            OSError(errno.EMFILE, "Too many open files"),
            OSError(errno.EACCES, "Permission denied"),
        ]

    async def connect(self) -> grpc.aio.Channel:
        if self.failures:
            raise self.failures.pop()
        return await super().connect()


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return Mesh()


async def test_a_spoke_registers_what_it_has_and_offers_its_slots(mesh):
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, FakeEngine(TINY, COLD), slots=3):
        request = await soon(hub.registered.get())
        slots = [await hub.slot() for _ in range(3)]
        assert [model.name for model in request.inventory.models] == ["cold", "tiny"]
        assert request.slots == 3
        assert sorted(slot.opened.slot for slot in slots) == [0, 1, 2]
        assert {slot.opened.session for slot in slots} == {1}


async def test_beats_come_by_themselves_and_carry_only_news(mesh):
    async with mesh.serving(MeshHub(heartbeat_s=0.05)) as hub, a_spoke(mesh, FakeEngine(TINY)):
        beats = [await soon(hub.beats.get()) for _ in range(4)]
        assert [beat.sequence for beat in beats] == [1, 2, 3, 4]
        assert beats[0].session == 1
        assert not any(beat.HasField("inventory") or beat.draining for beat in beats)


async def test_a_load_is_told_at_once_with_the_model_in_memory(mesh):
    async with mesh.serving(MeshHub(heartbeat_s=5.0)) as hub, a_spoke(mesh, FakeEngine(COLD)):
        hub.direct(pb.Directive(id=9, load=pb.LoadModel(engine="fake", model="cold", context_tokens=4096)))
        beat = await hub.beat_with(lambda beat: len(beat.results) == 1)
        assert beat.results[0].id == 9
        assert not beat.results[0].HasField("failure")
        assert hub.registered.qsize() == 1
        slot = await hub.slot()
        await slot.assign(1, COLD, ASK, pb.Assignment(options=pb.ModelOptions(context_tokens=4096)))
        chunks, _ = await slot.hear_answer()
        assert text_of(chunks) == "Hello world"


async def test_beats_go_on_while_a_model_loads(mesh):
    engine = FakeEngine(COLD)
    engine.load_step = gate = Gate()
    async with mesh.serving(MeshHub(heartbeat_s=0.05)) as hub, a_spoke(mesh, engine):
        hub.direct(pb.Directive(id=1, load=pb.LoadModel(engine="fake", model="cold", context_tokens=1)))
        await soon(gate.reached.wait())
        for _ in range(3):
            assert not (await soon(hub.beats.get())).results
        gate.open()
        await hub.beat_with(lambda beat: len(beat.results) == 1)


async def test_a_load_outlives_the_loss_of_the_hub_and_the_next_one_joins_it(mesh):
    engine = FakeEngine(COLD)
    engine.load_step = gate = Gate()
    async with AsyncExitStack() as lives:
        async with mesh.serving(MeshHub()) as hub:
            await lives.enter_async_context(a_spoke(mesh, engine))
            hub.direct(pb.Directive(id=1, load=LOAD))
            await soon(gate.reached.wait())
        async with mesh.serving(MeshHub()) as hub:
            hub.direct(pb.Directive(id=2, load=LOAD))
            await hub.slot()
            await hub.is_heard()
            gate.open()
            beat = await hub.beat_with(lambda beat: bool(beat.results))
            assert (beat.results[0].id, beat.results[0].HasField("failure")) == (2, False)
            assert engine.loads == [("cold", 4096)]


async def test_a_load_that_ends_without_a_session_is_in_the_next_inventory(mesh):
    engine = FakeEngine(COLD)
    engine.load_step = gate = Gate()
    async with AsyncExitStack() as lives:
        async with mesh.serving(MeshHub()) as hub:
            spoke = await lives.enter_async_context(a_spoke(mesh, engine))
            hub.direct(pb.Directive(id=1, load=LOAD))
            await soon(gate.reached.wait())
        loaded = asyncio.Event()
        with spoke.machine.on_change(loaded.set):
            gate.open()
            await soon(loaded.wait())
        async with mesh.serving(MeshHub()) as hub:
            registered = await soon(hub.registered.get())
            assert registered.inventory.models[0].HasField("loaded")


async def test_what_the_hub_wants_done_goes_on_over_a_change_of_the_certificate(mesh):
    engine = FakeEngine(COLD)
    engine.load_step = gate = Gate()
    async with mesh.serving(MeshHub(heartbeat_s=0.05)) as hub, a_spoke(mesh, engine) as spoke:
        await hub.slot()
        hub.direct(pb.Directive(id=1, load=LOAD))
        await soon(gate.reached.wait())
        spoke.link.move()
        assert (await hub.slot()).opened.session == 2
        gate.open()
        beat = await hub.beat_with(lambda beat: bool(beat.results))
        assert [(beat.session, result.id, result.HasField("failure")) for result in beat.results] == [
            (2, 1, False)
        ]


async def test_directives_that_cannot_be_done_say_why(mesh):
    gate = Gate()
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, FakeEngine(TINY, script=[gate])):
        slot = await hub.slot()
        await slot.assign(1, TINY, ASK)
        await soon(gate.reached.wait())
        hub.direct(
            pb.Directive(id=1, unload=pb.UnloadModel(engine="fake", model="tiny")),
            pb.Directive(id=2, load=pb.LoadModel(engine="other", model="x", context_tokens=1)),
            pb.Directive(id=3, load=pb.LoadModel(engine="fake", model="x", context_tokens=1)),
            pb.Directive(id=4),
        )
        results: list[pb.DirectiveResult] = []
        while len(results) < 4:
            results += (await hub.beat_with(lambda beat: bool(beat.results))).results
        assert [(result.id, result.failure.reason) for result in results] == [
            (1, "busy"),
            (2, "unknown_model"),
            (3, "unknown_model"),
            (4, "unsupported"),
        ]


async def test_an_engine_that_hangs_stops_no_heartbeat(mesh, monkeypatch):
    monkeypatch.setattr("spoke.link.machine.PROBE_TIMEOUT_S", 0.05)
    engine = FakeEngine(TINY)
    monkeypatch.setattr("spoke.link.machine.LOOK_EVERY_S", 0.01)
    async with mesh.serving(MeshHub(heartbeat_s=0.05)) as hub, a_spoke(mesh, engine):
        await hub.slot()
        engine.probe_step = gate = Gate()
        # On a machine that stalls, an engine that is well may seem to hang for a moment, too.
        await soon(gate.reached.wait())
        beat = await hub.beat_with(lambda beat: "not answered" in fault_in(beat))
        assert not beat.inventory.models
        gate.open()
        beat = await hub.beat_with(lambda beat: beat.HasField("inventory") and not fault_in(beat))
        assert beat.inventory.models


def fault_in(beat: pb.HeartbeatRequest) -> str:
    """What a beat says is wrong with the engine."""
    return beat.inventory.engines[0].fault if beat.HasField("inventory") else ""


async def test_a_spoke_finds_back_to_a_hub_that_went_away_in_the_middle_of_an_answer(mesh):
    engine = FakeEngine(TINY, script=["A", Gate()])
    async with AsyncExitStack() as lives:
        async with mesh.serving(MeshHub()) as hub:
            await lives.enter_async_context(a_spoke(mesh, engine))
            slot = await hub.slot()
            await slot.assign(1, TINY, ASK)
            await slot.hear()
        await soon(engine.closed.acquire())
        engine.script = ("again",)
        async with mesh.serving(MeshHub()) as hub:
            slot = await hub.slot()
            await slot.assign(1, TINY, ASK)
            chunks, _ = await slot.hear_answer()
            assert text_of(chunks) == "again"


async def test_a_spoke_that_is_refused_tries_again(mesh):
    hub = MeshHub()
    hub.refusal = Unauthenticated("who are you?")
    async with mesh.serving(hub), a_spoke(mesh, FakeEngine(TINY)) as spoke:
        await soon(hub.refused.wait())
        assert spoke.link.phase is Phase.CONNECTING
        hub.refusal = None
        await hub.slot()


async def test_a_spoke_whose_keys_cannot_be_read_now_tries_again():
    mesh = MeshOnABadDisk()
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, FakeEngine(TINY)):
        assert (await hub.slot()).opened.session == 1
    assert not mesh.failures


async def test_a_hub_that_falls_silent_is_given_up(mesh):
    hub = MeshHub(heartbeat_s=0.05, lease_s=0.3)
    hub.answers_beats = False
    async with mesh.serving(hub), a_spoke(mesh, FakeEngine(TINY)):
        first = await hub.slot()
        await soon(first.ended.wait())
        hub.answers_beats = True
        assert (await hub.slot()).opened.session > first.opened.session


async def test_leaving_finishes_what_runs_and_says_goodbye(mesh):
    engine = FakeEngine(TINY, script=["A", gate := Gate(), "B"])
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, engine, slots=2) as spoke:
        busy, idle = await hub.slot(), await hub.slot()
        await busy.assign(1, TINY, ASK)
        await soon(gate.reached.wait())
        spoke.link.leave("the machine goes to sleep")
        assert (await idle.hear()).HasField("withdraw")
        beat = await hub.beat_with(lambda beat: beat.draining)
        assert not beat.HasField("goodbye")
        await idle.assign(2, TINY, ASK)
        assert (await idle.hear()).declined.failure.reason == "draining"
        gate.open()
        chunks, last = await busy.hear_answer()
        assert text_of(chunks) == "AB"
        assert not last.HasField("failure")
        assert (await busy.hear()).HasField("withdraw")
        beat = await hub.beat_with(lambda beat: beat.HasField("goodbye"))
        assert beat.goodbye.why == "the machine goes to sleep"
        await soon(spoke.running)
        assert spoke.link.phase is Phase.GONE


async def test_a_hurry_breaks_off_what_runs_and_still_says_goodbye(mesh):
    engine = FakeEngine(TINY, script=["A", gate := Gate()])
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, engine) as spoke:
        slot = await hub.slot()
        await slot.assign(1, TINY, ASK)
        await soon(gate.reached.wait())
        spoke.link.leave("stop")
        await hub.beat_with(lambda beat: beat.draining)
        spoke.link.hurry()
        _, last = await slot.hear_answer()
        assert last.failure.reason == "draining"
        await hub.beat_with(lambda beat: beat.HasField("goodbye"))
        await soon(spoke.running)


async def test_leaving_does_not_wait_for_a_hub_that_is_away(mesh):
    async with mesh.serving(MeshHub()):
        pass
    async with a_spoke(mesh, FakeEngine(TINY)) as spoke:
        spoke.link.leave("stop")
        await soon(spoke.running)


async def test_a_new_certificate_is_shown_while_the_old_connection_finishes_its_work(mesh):
    engine = FakeEngine(TINY, script=["A", gate := Gate(), "B"])
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, engine, slots=2) as spoke:
        first, second = await hub.slot(), await hub.slot()
        await first.assign(1, TINY, ASK)
        await soon(gate.reached.wait())
        spoke.link.move()
        # The idle slot is there again at once, in the new session; the busy one keeps its answer.
        await soon(second.ended.wait())
        moved = await hub.slot()
        assert (moved.opened.session, moved.opened.slot) == (2, second.opened.slot)
        assert [(await soon(hub.registered.get())).replaces for _ in range(2)] == [0, 1]
        assert spoke.link.phase is Phase.READY
        gate.open()
        chunks, last = await first.hear_answer()
        assert (text_of(chunks), last.HasField("failure")) == ("AB", False)
        again = await hub.slot()
        assert (again.opened.session, again.opened.slot) == (2, first.opened.slot)


async def test_a_move_that_fails_leaves_the_session_as_it_was_and_is_tried_again(mesh):
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, FakeEngine(TINY, script=["A"])) as spoke:
        slot = await hub.slot()
        hub.refusal = Unauthenticated("not now")
        spoke.link.move()
        await soon(hub.refused.wait())
        assert spoke.link.phase is Phase.MOVING
        await slot.assign(1, TINY, ASK)
        assert text_of((await slot.hear_answer())[0]) == "A"
        hub.refusal = None
        assert (await hub.slot()).opened.session == 2


async def test_who_asks_during_a_move_asks_over_the_connection_that_it_leads_to(mesh):
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, FakeEngine(TINY)) as spoke:
        await hub.slot()
        before = await spoke.link.channel()
        hub.refusal = Unauthenticated("not now")
        spoke.link.move()
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(spoke.link.channel())
            await soon(hub.refused.wait())
            assert not asking.done()
            hub.refusal = None
        assert asking.result() is not before
        assert asking.result() is await spoke.link.channel()


async def test_who_asks_while_a_spoke_connects_asks_as_soon_as_it_is_connected(mesh):
    hub = MeshHub()
    hub.refusal = Unauthenticated("not now")
    async with mesh.serving(hub), a_spoke(mesh, FakeEngine(TINY)) as spoke, asyncio.TaskGroup() as group:
        asking = group.create_task(spoke.link.channel())
        await soon(hub.refused.wait())
        assert not asking.done()
        hub.refusal = None
        await soon(asyncio.wait({asking}))
        assert asking.result() is await spoke.link.channel()


async def test_who_asks_a_spoke_that_leaves_before_it_was_connected_is_told_so(mesh):
    hub = MeshHub()
    hub.refusal = Unauthenticated("not now")
    async with mesh.serving(hub), a_spoke(mesh, FakeEngine(TINY)) as spoke:
        asking = asyncio.create_task(spoke.link.channel())
        await soon(hub.refused.wait())
        spoke.link.leave("stop")
        with pytest.raises(Unreachable):
            await soon(asking)


async def test_a_spoke_that_is_stopped_after_it_has_moved_finishes_what_runs_on_the_old_connection(mesh):
    engine = FakeEngine(TINY, script=["A", gate := Gate(), "B"])
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, engine) as spoke:
        slot = await hub.slot()
        await slot.assign(1, TINY, ASK)
        await soon(gate.reached.wait())
        spoke.link.move()
        await hub.beat_with(lambda beat: beat.session == 2)
        spoke.link.leave("stop")
        await hub.beat_with(lambda beat: beat.draining)
        gate.open()
        chunks, _ = await slot.hear_answer()
        assert text_of(chunks) == "AB"
        await hub.beat_with(lambda beat: beat.HasField("goodbye"))
        await soon(spoke.running)


async def test_a_spoke_that_is_stopped_after_it_has_moved_has_no_more_time_than_any_other(mesh, monkeypatch):
    monkeypatch.setattr("spoke.link.session.DRAIN_S", 0.0)
    engine = FakeEngine(TINY, script=["A", gate := Gate()])
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, engine) as spoke:
        slot = await hub.slot()
        await slot.assign(1, TINY, ASK)
        await soon(gate.reached.wait())
        spoke.link.move()
        await hub.beat_with(lambda beat: beat.session == 2)
        spoke.link.leave("stop")
        _, last = await slot.hear_answer()
        assert last.failure.reason == "draining"
        await soon(spoke.running)
