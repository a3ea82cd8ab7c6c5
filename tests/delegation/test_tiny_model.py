"""Goals on the real engine: the shipped tiny model plans, works and reviews. Hub and spokes are processes, and are killed."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil
import pytest

from hubspoke.admin import AdminClient
from hubspoke.types import (
    DelegationState,
    Goal,
    Mode,
    Planned,
    Reviewed,
    StateChanged,
    SubtaskState,
    SubtaskStatus,
    VerdictKind,
    Work,
)
from pki.identity import Role
from tests.chaos.processes import Program, until
from tests.fakes.delegating import is_dense
from tests.fakes.hub_process import hub_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hubspoke.client import MeshClient
    from hubspoke.types import DelegationEvent, DelegationId
    from tests.fakes.hub_process import HubProcess

MODEL = "tiny"
SPOKES = ("den", "tower")
WORK = Work("1", Goal("echo abc, then upper it; capital of france", mode=Mode.DAG))
PLAN = [("a", "echo abc", ()), ("b", "upper {a}", ("a",)), ("c", "capital of france", ())]
RESULT = "ABC\nParis"
SIDE_BY_SIDE = {"a", "c"}
PLANNED = "hub.delegations.nodes:Nodes.do_all:before"

pytestmark = pytest.mark.timeout(180)


@dataclass
class TinyMesh:
    """A hub, an app, and two spokes with one slot each that have the model in memory."""

    hub: HubProcess
    app: MeshClient
    spokes: dict[str, Program]
    events: list[DelegationEvent] = field(default_factory=list)

    def engines(self, name: str) -> list[psutil.Process]:
        """Give the processes that run models for a spoke."""
        process = self.spokes[name].process
        assert process is not None
        return psutil.Process(process.pid).children(recursive=True)

    def begun(self) -> Counter[str]:
        """Count how often each task was begun, by what stands behind the delegation's id in its key."""
        logs = (spoke.log.read_text(encoding="utf-8") for spoke in self.spokes.values())
        whole = (log.rpartition("\n")[0] for log in logs)  # of the rest, more is to come
        entries = (json.loads(line) for log in whole for line in log.splitlines() if line.startswith("{"))
        begun = (entry["task"] for entry in entries if entry["event"] == "task begun")
        return Counter(key.partition("/")[2] for key in begun)

    async def ends(self, delegation: DelegationId) -> StateChanged:
        """Watch it from the first event to the last, and say how it ended."""
        self.events = [event async for event in self.app.delegations.watch(delegation)]
        last = self.events[-1].happening
        assert isinstance(last, StateChanged)
        assert is_dense(self.events)
        return last

    async def runs(self, delegation: DelegationId) -> dict[str, str]:
        """Wait until what can be done side by side is, and say where each of it runs; the spokes have begun it, too."""
        where: dict[str, str] = {}
        async for event in self.app.delegations.watch(delegation):
            status = event.happening
            if isinstance(status, SubtaskStatus) and status.state is SubtaskState.RUNNING:
                where[status.id] = status.spoke
            if where.keys() >= SIDE_BY_SIDE:
                break
        # The hub tells this as soon as it has given the work away, and the spoke may not have heard of it yet.
        await until(lambda: self.begun().keys() >= {f"{name}/0.0" for name in SIDE_BY_SIDE}, "both begun")
        return where


@asynccontextmanager
async def a_tiny_mesh(directory: Path, dies: str = "") -> AsyncIterator[TinyMesh]:
    async with hub_process(directory, dies=dies, orchestrator=(MODEL,)) as hub, hub.app() as app:
        mesh = TinyMesh(hub, app, {name: await a_spoke(hub, name) for name in SPOKES})
        engines: list[psutil.Process] = []
        try:
            for name in SPOKES:
                await has_loaded(hub, name)
                engines += mesh.engines(name)
            yield mesh
        finally:
            for spoke in mesh.spokes.values():
                spoke.kill()
            for engine in engines:
                if engine.is_running():
                    engine.kill()  # one that stands still does not notice that its spoke is gone


async def a_spoke(hub: HubProcess, name: str) -> Program:
    await hub.join(name, Role.SPOKE, directory=f"{name}/spoke")
    home = hub.directory / name
    arguments = ("run", "--model", MODEL, "--slots", "1", "--state-dir", str(home))
    spoke = Program("spoke", arguments, hub.directory / f"{name}.log")
    spoke.start()
    return spoke


async def has_loaded(hub: HubProcess, name: str) -> None:
    await hub.is_listed(name, 1)
    await hub.has_model(name, MODEL)
    async with AdminClient(hub.admin.directory) as admin:
        async for _ in admin.load(MODEL, spoke=name):
            pass


async def test_the_tiny_model_plans_works_and_reviews(tmp_path: Path):
    async with a_tiny_mesh(tmp_path) as mesh:
        delegation = (await mesh.app.delegations.hand_over(WORK)).id
        end = await mesh.ends(delegation)
        begun = mesh.begun()
    happenings = [event.happening for event in mesh.events]
    (planned,) = (each for each in happenings if isinstance(each, Planned))
    (reviewed,) = (each for each in happenings if isinstance(each, Reviewed))
    assert [(one.id, one.title, one.depends_on) for one in planned.subtasks] == PLAN
    assert [(verdict.subtask, verdict.kind) for verdict in reviewed.verdicts] == [
        (name, VerdictKind.ACCEPT) for name, _, _ in PLAN
    ]
    assert (end.state, end.result) == (DelegationState.SUCCEEDED, RESULT)
    assert begun == Counter(("plan/0.0", "a/0.0", "b/0.0", "c/0.0", "review-1-0/0.0"))


async def test_hub_and_spoke_are_killed_and_nothing_that_was_finished_is_done_again(tmp_path: Path):
    async with a_tiny_mesh(tmp_path, PLANNED) as mesh:
        delegation = (await mesh.app.delegations.hand_over(WORK)).id
        await mesh.hub.died()
        engines = {name: mesh.engines(name) for name in SPOKES}
        for engine in (*engines["den"], *engines["tower"]):
            engine.suspend()  # so that both are at work when one of them is killed
        await mesh.hub.start()
        where = await mesh.runs(delegation)
        assert set(where.values()) == set(SPOKES)
        mesh.spokes["tower"].kill()
        for engine in engines["den"]:
            engine.resume()
        end = await mesh.ends(delegation)
        begun = mesh.begun()
    (lost,) = (name for name, spoke in where.items() if spoke == "tower")
    assert (end.state, end.result) == (DelegationState.SUCCEEDED, RESULT)
    assert begun == Counter(("plan/0.0", "a/0.0", "b/0.0", "c/0.0", "review-1-0/0.0", f"{lost}/0.0"))
