"""Work that a spoke does once, whatever becomes of sessions, hubs and of the spoke itself."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from hubspoke.api.mesh.v1 import mesh_pb2 as pb
from hubspoke.errors import EngineCrashed
from hubspoke.wire import times
from tests.fakes.engine import FakeEngine, Gate
from tests.fakes.linked_spoke import ASK, TINY, a_spoke, text_of
from tests.fakes.mesh_hub import Mesh, MeshHub, soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.mesh_hub import MeshSlot

DIGEST = hashlib.sha256(b"the request").digest()


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return Mesh()


def a_task(key: str = "d1/s1/0", epoch: int = 1, digest: bytes = DIGEST) -> pb.Assignment:
    return pb.Assignment(task=pb.Task(key=key, epoch=epoch, request_digest=digest))


def kept_in(results: Path) -> list[Path]:
    return list(results.iterdir())


async def done(slot: MeshSlot, attempt: int, task: pb.Assignment | None = None) -> str:
    """Have a task done, and give its text."""
    await slot.assign(attempt, TINY, ASK, task or a_task())
    chunks, last = await slot.hear_answer()
    assert not last.HasField("failure"), last.failure
    return text_of(chunks)


async def held_by(hub: MeshHub) -> dict[str, bool]:
    """Give what a spoke brings into its next session: each task, and whether it is done."""
    first = await hub.beat_with(lambda beat: beat.sequence == 1)
    return {one.task.key: one.done for one in first.held_tasks}


async def test_a_task_is_done_once(mesh: Mesh, tmp_path: Path) -> None:
    engine = FakeEngine(TINY)
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, engine, results=tmp_path):
        slot = await hub.slot()
        assert [await done(slot, attempt) for attempt in (1, 2, 3)] == ["Hello world"] * 3
    assert len(engine.requests) == 1


async def test_a_task_goes_on_when_its_hub_is_gone(mesh: Mesh, tmp_path: Path) -> None:
    engine = FakeEngine(TINY, script=["Once ", gate := Gate(), "upon a time"])
    hub = MeshHub()
    async with a_spoke_of(mesh, hub, engine, tmp_path) as serving:
        slot = await hub.slot()
        await slot.assign(1, TINY, ASK, a_task())
        assert text_of([(await slot.hear()).chunk]) == "Once "
        await serving.stop()
        await soon(gate.reached.wait())
        again = await serving.start()
        assert await held_by(again) == {"d1/s1/0": False}
        slot = await again.slot()
        await slot.assign(2, TINY, ASK, a_task())
        gate.open()
        chunks, _ = await slot.hear_answer()
        assert text_of(chunks) == "Once upon a time"
    assert len(engine.requests) == 1


async def test_a_task_that_ended_while_no_hub_was_there_is_answered_from_its_result(
    mesh: Mesh, tmp_path: Path
) -> None:
    engine = FakeEngine(TINY, script=["Once ", gate := Gate(), "upon a time"])
    hub = MeshHub()
    async with a_spoke_of(mesh, hub, engine, tmp_path) as serving:
        slot = await hub.slot()
        await slot.assign(1, TINY, ASK, a_task())
        await slot.hear()
        await serving.stop()
        gate.open()
        await soon(engine.closed.acquire())
        again = await serving.start()
        slot = await again.slot()
        assert await done(slot, 2) == "Once upon a time"
    assert len(engine.requests) == 1


async def test_a_result_outlives_the_spoke(mesh: Mesh, tmp_path: Path) -> None:
    first, second = FakeEngine(TINY), FakeEngine(TINY)
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, first, results=tmp_path):
        await done(await hub.slot(), 1)
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, second, results=tmp_path):
        assert await held_by(hub) == {"d1/s1/0": True}
        assert await done(await hub.slot(), 2) == "Hello world"
    assert second.requests == []


async def test_a_settled_result_is_forgotten(mesh: Mesh, tmp_path: Path) -> None:
    engine = FakeEngine(TINY)
    async with (
        mesh.serving(MeshHub(heartbeat_s=0.05)) as hub,
        a_spoke(mesh, engine, results=tmp_path) as spoke,
    ):
        slot = await hub.slot()
        await done(slot, 1)
        hub.settle("d1/s1/0", "unknown")
        await hub.is_heard()
        assert spoke.tasks.held() == ()
        assert kept_in(tmp_path) == []
        await done(slot, 2)
    assert len(engine.requests) == 2


@pytest.mark.parametrize(
    "other",
    [a_task(epoch=1), a_task(epoch=3, digest=hashlib.sha256(b"other").digest())],
    ids=["epoch", "digest"],
)
async def test_who_has_lost_the_work_or_means_other_work_is_declined(
    mesh: Mesh, tmp_path: Path, other: pb.Assignment
) -> None:
    engine = FakeEngine(TINY)
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, engine, results=tmp_path):
        slot = await hub.slot()
        await done(slot, 1, a_task(epoch=2))
        await slot.assign(2, TINY, ASK, other)
        declined = (await slot.hear()).declined
        assert declined.failure.reason == "task_conflict"
    assert len(engine.requests) == 1


async def test_a_newer_owner_joins_what_runs(mesh: Mesh, tmp_path: Path) -> None:
    engine = FakeEngine(TINY, script=["A", gate := Gate(), "B"])
    async with (
        mesh.serving(MeshHub()) as hub,
        a_spoke(mesh, engine, slots=2, results=tmp_path) as spoke,
    ):
        one, two = await hub.slot(), await hub.slot()
        await one.assign(1, TINY, ASK, a_task(epoch=1))
        await one.hear()
        await two.assign(2, TINY, ASK, a_task(epoch=2))
        assert text_of([(await two.hear()).chunk]) == "A"
        gate.open()
        for slot in (one, two):
            chunks, _ = await slot.hear_answer()
            assert text_of(chunks) == "B"
        assert [held.task.epoch for held in spoke.tasks.held()] == [2]
    assert len(engine.requests) == 1


async def test_a_task_that_is_cancelled_is_stopped_for_good(mesh: Mesh, tmp_path: Path) -> None:
    engine = FakeEngine(TINY, script=["A", Gate()])
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, engine, results=tmp_path) as spoke:
        slot = await hub.slot()
        await slot.assign(1, TINY, ASK, a_task())
        await slot.hear()
        await slot.cancel(1)
        await slot.hear_answer()
        assert engine.running == 0  # the slot is free, so the engine is
        assert spoke.tasks.held() == ()
        await soon(spoke.machine.idle.wait())


async def test_a_task_that_is_late_is_stopped_for_good(mesh: Mesh, tmp_path: Path) -> None:
    engine = FakeEngine(TINY, script=["A", Gate()])
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, engine, results=tmp_path):
        slot = await hub.slot()
        hurried = a_task()
        hurried.timeout.CopyFrom(times.duration(0.05))
        await slot.assign(1, TINY, ASK, hurried)
        _, last = await slot.hear_answer()
        assert last.failure.reason == "deadline_exceeded"
        await soon(engine.closed.acquire())


async def test_a_failure_is_not_kept(mesh: Mesh, tmp_path: Path) -> None:
    engine = FakeEngine(TINY, script=["A", EngineCrashed("it died")])
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, engine, results=tmp_path) as spoke:
        slot = await hub.slot()
        await slot.assign(1, TINY, ASK, a_task())
        _, last = await slot.hear_answer()
        assert last.failure.reason == "engine_crashed"
        assert spoke.tasks.held() == ()
        engine.script = ("Hello",)
        assert await done(slot, 2) == "Hello"


async def test_a_damaged_result_is_made_again(mesh: Mesh, tmp_path: Path) -> None:
    engine = FakeEngine(TINY)
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, engine, results=tmp_path):
        await done(await hub.slot(), 1)
    (file,) = kept_in(tmp_path)
    file.write_bytes(file.read_bytes()[:-5])
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, engine, results=tmp_path):
        assert await held_by(hub) == {}
        await done(await hub.slot(), 2)
    assert len(engine.requests) == 2


async def test_what_a_crash_has_left_half_written_is_deleted(mesh: Mesh, tmp_path: Path) -> None:
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, FakeEngine(TINY), results=tmp_path):
        await done(await hub.slot(), 1)
    (file,) = kept_in(tmp_path)
    tmp_path.joinpath(f".{file.name}.0a1b2c3d").write_bytes(file.read_bytes()[:-5])
    async with mesh.serving(MeshHub()) as hub, a_spoke(mesh, FakeEngine(TINY), results=tmp_path):
        assert await held_by(hub) == {"d1/s1/0": True}
        assert kept_in(tmp_path) == [file]


class Serving:
    """A hub that can go away and come back while its spoke lives."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self, hub: MeshHub | None = None) -> MeshHub:
        hub = hub or MeshHub()
        begun, self._ended = asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self._serve(hub, begun, self._ended))
        await soon(begun.wait())
        return hub

    async def stop(self) -> None:
        assert self._task is not None
        self._ended.set()
        await soon(self._task)

    async def _serve(self, hub: MeshHub, begun: asyncio.Event, ended: asyncio.Event) -> None:
        async with self._mesh.serving(hub):
            begun.set()
            await ended.wait()


@asynccontextmanager
async def a_spoke_of(mesh: Mesh, hub: MeshHub, engine: FakeEngine, results: Path) -> AsyncIterator[Serving]:
    """A spoke, and its hub, which is gone when the block ends."""
    serving = Serving(mesh)
    await serving.start(hub)
    async with a_spoke(mesh, engine, results=results):
        yield serving
    await serving.stop()
