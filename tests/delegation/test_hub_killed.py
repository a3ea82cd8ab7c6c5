"""K1: a hub that is killed at any place goes on when it is back: right result, nothing twice, numbers without gaps."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from hub.delegations.run import STARTS_MAX
from hub.ports import Ports
from hubspoke.clock import SystemClock
from hubspoke.errors import UnknownModel, Unreachable
from hubspoke.types import DelegationState, Limits, SideEffect, StateChanged, SubtaskId, Verb
from tests.fakes.delegating import A, B, C, asked, is_dense, planned, until
from tests.fakes.engine import Gate
from tests.fakes.hub_process import HubProcess, hub_process
from tests.fakes.real_agent import an_agent
from tests.fakes.replying_engine import ReplyingEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hubspoke.client import MeshClient
    from hubspoke.types import DelegationEvent, Work

WORK = planned(asked(A, "one"), asked(B, "two"), asked(C, "three {a} {b}", A, B))
PLACES = {
    "before it is accepted": "hub.journal.accepting:accept:after",
    "accepted, before the answer": "hub.journal.journal:Journal.accept:after",
    "before it is placed": "hub.delegations.asking:Asker.ask:before:2",
    "a result, before it is kept": "hub.delegations.doing:Doer.do:after:2",
    "a result kept, before the spoke hears": "hub.delegations.doing:Doer.outcome:before:1",
    "merging": "hub.delegations.run:Run._merged:before",
    "ended": "hub.delegations.run:Run._end:after",
}

POISON = "hub.delegations.nodes:Nodes.do_all:before"

pytestmark = pytest.mark.timeout(180)


@asynccontextmanager
async def a_doomed_mesh(
    directory: Path, engine: ReplyingEngine, dies: str = ""
) -> AsyncIterator[tuple[HubProcess, MeshClient]]:
    async with hub_process(directory, dies=dies) as hub, an_agent(hub, "den", engine), hub.app() as mesh:
        yield hub, mesh


async def handed_over(mesh: MeshClient, work: Work) -> str:
    """Hand over until a hub says that it is kept."""
    while True:
        try:
            return (await mesh.delegations.hand_over(work)).id
        except (Unreachable, UnknownModel):  # the spoke dials again, too
            await asyncio.sleep(0)


async def to_the_end(mesh: MeshClient, work: Work) -> list[DelegationEvent]:
    delegation = await handed_over(mesh, work)
    return [event async for event in mesh.delegations.watch(delegation)]


def result(events: list[DelegationEvent]) -> str:
    last = events[-1].happening
    assert isinstance(last, StateChanged)
    assert last.state is DelegationState.SUCCEEDED, last
    assert is_dense(events)
    return last.result


@pytest.mark.parametrize("place", PLACES)
async def test_a_hub_that_dies_there_loses_nothing_and_repeats_nothing(tmp_path: Path, place: str):
    engine = ReplyingEngine()
    async with a_doomed_mesh(tmp_path, engine, PLACES[place]) as (hub, mesh), asyncio.TaskGroup() as group:
        end = group.create_task(to_the_end(mesh, WORK))
        await hub.died()
        await hub.start()
    assert result(end.result()) == "THREE ONE TWO"
    assert engine.ended == {"one": 1, "two": 1, "three ONE TWO": 1}


async def test_what_must_not_be_done_twice_is_parked_where_nobody_knows_whether_it_was_begun(tmp_path: Path):
    engine = ReplyingEngine()
    work = planned(asked(A, "one", side_effect=SideEffect.NON_IDEMPOTENT))
    place = PLACES["before it is placed"].replace(":2", ":1")
    async with a_doomed_mesh(tmp_path, engine, place) as (hub, mesh), asyncio.TaskGroup() as group:
        end = group.create_task(to_the_end(mesh, work))
        await hub.died()
        await hub.start()
        delegation = await handed_over(mesh, work)
        parked = await until(mesh, delegation, DelegationState.PARKED)
        assert parked.problem is not None
        assert "must not be done twice" in parked.problem.message
        assert engine.begun == {}
        await mesh.delegations.resolve(delegation, Verb.RETRY, subtask=A)
    assert result(end.result()) == "ONE"
    assert engine.begun == {"one": 1}


async def test_what_runs_on_a_spoke_runs_on_while_the_hub_is_dead(tmp_path: Path):
    gates = {"one": Gate(), "two": Gate()}
    engine = ReplyingEngine(replies=lambda prompt: (gates[prompt], prompt) if prompt in gates else prompt)
    async with a_doomed_mesh(tmp_path, engine) as (hub, mesh), asyncio.TaskGroup() as group:
        end = group.create_task(to_the_end(mesh, WORK))
        for gate in gates.values():
            await gate.reached.wait()
        await hub.kill()
        gates["one"].open()
        await engine.closed.acquire()
        await hub.start()
        gates["two"].open()
    assert result(end.result()) == "three one two"
    assert engine.begun == {"one": 1, "two": 1, "three one two": 1}


async def test_results_stay_with_their_subtasks_whatever_ends_first(tmp_path: Path):
    """K12: what became ready in another order than before the hub died must not be given another's result."""
    gates = {name: Gate() for name in ("a", "b", "c a", "d b")}
    engine = ReplyingEngine(replies=lambda prompt: (gates[prompt], prompt) if prompt in gates else prompt)
    d, e = SubtaskId("d"), SubtaskId("e")
    work = planned(
        asked(A, "a"),
        asked(B, "b"),
        asked(C, "c {a}", A),
        asked(d, "d {b}", B),
        asked(e, "e {c} {d}", C, d),
    )
    async with a_doomed_mesh(tmp_path, engine) as (hub, mesh), asyncio.TaskGroup() as group:
        end = group.create_task(to_the_end(mesh, work))
        gates["b"].open()
        await gates["d b"].reached.wait()
        await hub.kill()
        gates["d b"].open()
        gates["a"].open()
        await hub.start()
        await gates["c a"].reached.wait()
        await hub.restart()
        gates["c a"].open()
    assert result(end.result()) == "e c a d b"
    assert set(engine.ended.values()) == {1}


async def test_a_deadline_that_passes_while_the_hub_is_dead_holds(tmp_path: Path):
    """K8: the deadline is a moment, whoever is there to see it."""
    gate = Gate()
    engine = ReplyingEngine(replies=lambda prompt: (gate, prompt))
    async with a_doomed_mesh(tmp_path, engine) as (hub, mesh):
        # Enough for a slow machine to begin it, and counted from when the mesh is there.
        deadline = SystemClock().now() + timedelta(seconds=12)
        work = planned(asked(A, "one"), limits=Limits(deadline))
        async with asyncio.TaskGroup() as group:
            end = group.create_task(to_the_end(mesh, work))
            await gate.reached.wait()
            await hub.kill()
            await asyncio.wait({end}, timeout=(deadline - SystemClock().now()).total_seconds())
            await hub.start()
    last = end.result()[-1].happening
    assert (last.state, last.problem.reason) == (DelegationState.FAILED, "deadline_exceeded")


async def test_what_was_cancelled_stays_so_when_the_hub_is_back(tmp_path: Path):
    gate = Gate()
    engine = ReplyingEngine(replies=lambda prompt: (gate, prompt))
    async with a_doomed_mesh(tmp_path, engine) as (hub, mesh):
        delegation = await handed_over(mesh, WORK)
        await gate.reached.wait()
        await mesh.delegations.cancel(delegation)
        await hub.restart()
        assert (await mesh.delegations.get(delegation)).state is DelegationState.CANCELLED


async def test_a_second_hub_on_the_same_files_refuses_to_start(tmp_path: Path):
    """K6: it would take what the first one does for work of a dead hub, and do it again."""
    async with hub_process(tmp_path) as hub:
        other = HubProcess(hub.directory, hub.made, Ports(0, 0))
        with pytest.raises(AssertionError):
            await other.start()
        assert await other.process.wait() != 0


async def test_work_that_takes_the_hub_down_is_parked_for_a_person(tmp_path: Path):
    """K7: the hub comes up, whatever it was given, and others' work goes on."""
    engine = ReplyingEngine()
    async with a_doomed_mesh(tmp_path, engine, POISON) as (hub, mesh):
        delegation = await handed_over(mesh, WORK)
        for _ in range(STARTS_MAX - 1):
            await hub.died()
            await hub.launch(POISON)  # it may be dead again before anybody sees it listen
        await hub.died()
        await hub.start(POISON)
        parked = await until(mesh, delegation, DelegationState.PARKED)
        await hub.restart()
        other = await to_the_end(mesh, planned(asked(A, "other"), request_id="2"))
        await mesh.delegations.resolve(delegation, Verb.RETRY)
        events = [event async for event in mesh.delegations.watch(delegation)]
    assert parked.problem is not None
    assert parked.problem.reason == "poisonous"
    assert (result(other), result(events)) == ("OTHER", "THREE ONE TWO")
