"""A spoke's real link around a fake engine, without the agent."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hubspoke.api.inference.v1 import inference_pb2
from hubspoke.clock import SystemClock
from hubspoke.types import HostMemory, Request
from spoke.gpu.none import NoGpus
from spoke.link.machine import Machine
from spoke.link.reconnect import Link
from spoke.link.tasks.results import Results
from spoke.link.tasks.running import Tasks
from tests.fakes.engine import FakeEngine, a_model
from tests.fakes.mesh_hub import Mesh, soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from hubspoke.api.mesh.v1 import mesh_pb2 as pb

TINY = a_model()
COLD = a_model("cold", loaded=False, digest="sha256:" + "c" * 64)
NOWHERE = Path("/nonexistent/tasks")
"""For spokes that are given no task."""
ASK = Request(model="tiny", prompt="Say hello")


@dataclass
class Spoke:
    link: Link
    machine: Machine
    tasks: Tasks
    engine: FakeEngine
    running: asyncio.Task[None]


@asynccontextmanager
async def a_spoke(
    mesh: Mesh, engine: FakeEngine, *, slots: int = 1, results: Path = NOWHERE
) -> AsyncIterator[Spoke]:
    """A spoke that is there when the block begins and gone when it ends."""
    machine = Machine([engine], NoGpus(), lambda: HostMemory(1 << 34, 1 << 33))
    clock = SystemClock()
    tasks = Tasks(Results(results), machine, clock)
    link = Link(
        mesh.connect,
        machine,
        tasks,
        slots=slots,
        version="test",
        clock=clock,
        chance=lambda: 0.01,
        heard=lambda _generation, _within_s: None,
    )
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(machine.watch())
        working = group.create_task(tasks.run())
        await soon(machine.looked.wait())
        await soon(tasks.is_ready.wait())
        running = group.create_task(link.run())
        yield Spoke(link, machine, tasks, engine, running)
        for task in (running, watching, working):
            task.cancel()


def text_of(chunks: Iterable[pb.Chunk]) -> str:
    """The text in what a client would get."""
    return "".join(inference_pb2.InferResponse.FromString(chunk.body).delta.text for chunk in chunks)
