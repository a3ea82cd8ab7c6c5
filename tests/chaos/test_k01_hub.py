"""K1: the hub is killed at every step of a delegation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from hubspoke.types import Check, DelegationState
from tests.chaos import checks
from tests.chaos.mesh import Watching, hand_over
from tests.chaos.works import Part, diamond, goal, planned, result_of, reviewed

if TYPE_CHECKING:
    from hubspoke.types import Work
    from tests.chaos.mesh import ChaosMesh

FOUR = tuple(Part(f"part{number}", (), "ms=50") for number in range(4))


MERGED = "merged part0 part1 part2 part3"


async def is_done_through_a_death(mesh: ChaosMesh, work: Work, point: str) -> str:
    """Hand *work* over to a hub that dies at *point*, and give the result."""
    mesh.dies("hub", point)
    async with mesh.app() as client:
        handing = asyncio.create_task(hand_over(client, work))
        await mesh.hub.died()
        await mesh.start_hub()
        info = await handing
        watching = Watching(client, info.id)
        last = await watching.to_the_end()
    assert last.state is DelegationState.SUCCEEDED, last
    assert checks.is_dense(watching.events)
    return last.result


@pytest.mark.parametrize("point", ["accepting", "accepted", "placed", "answered", "checkpointed", "ended"])
async def test_a_plan_is_done_once_when_the_hub_dies(mesh: ChaosMesh, point: str):
    parts = diamond("ms=50")
    assert await is_done_through_a_death(mesh, planned(*parts), point) == result_of(*parts)
    assert checks.finished_names(mesh.moments, mesh.killed) == {part.name: 1 for part in parts}


@pytest.mark.parametrize("point", ["planned", "reviewed", "merged"])
async def test_the_orchestrator_is_asked_once_when_the_hub_dies_before_its_answer_is_kept(
    mesh: ChaosMesh, point: str
):
    work = goal(*FOUR) if point == "planned" else reviewed(*FOUR)
    result = await is_done_through_a_death(mesh, work, point)
    assert result == (result_of(*FOUR) if point == "planned" else MERGED)
    assert set(checks.finished_names(mesh.moments, mesh.killed).values()) == {1}


@pytest.mark.parametrize("step", ["plan", "review", "merge"])
async def test_the_orchestrator_is_asked_once_when_the_hub_dies_meanwhile(mesh: ChaosMesh, step: str):
    work = goal if step == "plan" else reviewed
    async with mesh.app() as client:
        info = await hand_over(client, work(*FOUR, orders=f"<{step}: gate=go>"))
        watching = Watching(client, info.id)
        ending = asyncio.create_task(watching.to_the_end())
        await mesh.has_begun({"review": "review of part0,part1,part2,part3"}.get(step, step))
        mesh.hub.kill()
        mesh.open("go")
        await mesh.start_hub()
        last = await ending
    assert last.result == (result_of(*FOUR) if step == "plan" else MERGED)
    assert checks.is_dense(watching.events)
    assert set(checks.finished_names(mesh.moments, mesh.killed).values()) == {1}


async def test_what_runs_goes_on_while_the_hub_is_dead(mesh: ChaosMesh):
    parts = diamond("gate=go")
    async with mesh.app() as client:
        info = await hand_over(client, planned(*parts))
        watching = Watching(client, info.id)
        ending = asyncio.create_task(watching.to_the_end())
        await mesh.has_begun("m0", "m1", "m2", "m3")
        mesh.hub.kill()
        mesh.open("go")
        await mesh.has_finished("m0", "m1", "m2", "m3")
        await mesh.start_hub()
        last = await ending
    assert last.result == result_of(*parts)
    assert checks.is_dense(watching.events)
    assert {checks.begun(mesh.moments, part.name) for part in parts} == {1}


async def test_an_answer_that_was_refused_is_not_made_again(mesh: ChaosMesh):
    # Long enough for the word that settles a task to reach the spoke, if it were sent too early.
    work = planned(Part("one", (), "bad=1,ms=2500"), checks=(Check.FOUND,))
    assert await is_done_through_a_death(mesh, work, "answered") == "one(x)"
    assert checks.begun(mesh.moments, "one") == 2
