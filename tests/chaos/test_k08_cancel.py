"""K8: delegations are cancelled whenever and however often, and deadlines hold while the hub is down."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from hubspoke.clock import SystemClock
from hubspoke.types import DelegationState, Limits, SubtaskState
from tests.chaos import checks
from tests.chaos.mesh import Watching, hand_over, stands
from tests.chaos.processes import until
from tests.chaos.works import Part, delicate, goal, planned, reviewed

if TYPE_CHECKING:
    from tests.chaos.mesh import ChaosMesh

HELD = (Part("one", (), "gate=go"),)
PAIR = (Part("one"), Part("two"))
CANCELLED = DelegationState.CANCELLED
WORK = {
    DelegationState.PLANNING: goal(*PAIR, orders="<plan: gate=go>"),
    DelegationState.RUNNING: planned(*HELD),
    DelegationState.REVIEWING: reviewed(*PAIR, orders="<review: gate=go>"),
    DelegationState.MERGING: reviewed(*PAIR, orders="<merge: gate=go>"),
    DelegationState.PARKED: delicate(planned(*HELD)),
}
"""What stays in a state until it may go on."""


@pytest.mark.parametrize("state", WORK, ids=lambda state: state.value)
async def test_whatever_it_does_it_is_cancelled_once(mesh: ChaosMesh, state: DelegationState):
    async with mesh.app() as client:
        info = await hand_over(client, replace(WORK[state], request_id=str(uuid.uuid4())))
        if state is DelegationState.PARKED:
            await mesh.has_begun("one")
            mesh.has("one").kill()
        await stands(client, info.id, state)
        states = [(await client.delegations.cancel(info.id)).state for _ in range(2)]
        mesh.open("go")
        watching = Watching(client, info.id)
        last = await watching.to_the_end()
        mesh.hub.kill()
        await mesh.start_hub()
        after = await client.delegations.get(info.id)
    assert {*states, last.state, after.state} == {CANCELLED}
    assert after.last_seq == watching.events[-1].seq
    assert checks.is_dense(watching.events)
    await until(lambda: mesh.results == [], "spokes to forget what nobody wants any more")


@pytest.mark.parametrize("moment", ["running", "hub is back", "hub was never told"])
async def test_a_delegation_is_cancelled_for_good(mesh: ChaosMesh, moment: str):
    async with mesh.app() as client:
        info = await hand_over(client, planned(*HELD))
        await mesh.has_begun("one")
        if moment == "running":
            await client.delegations.cancel(info.id)
        mesh.hub.kill()
        await mesh.start_hub()
        again = await client.delegations.cancel(info.id)
        mesh.open("go")
        last = await Watching(client, info.id).to_the_end()
    assert (again.state, last.state) == (CANCELLED, CANCELLED)
    assert [one.state for one in again.subtasks] == [SubtaskState.CANCELLED]
    await until(lambda: mesh.results == [], "spokes to forget what nobody wants any more")


async def test_cancelling_races_with_the_end(mesh: ChaosMesh):
    async with mesh.app() as client:
        info = await hand_over(client, planned(*HELD))
        await mesh.has_begun("one")
        mesh.open("go")
        states = {(await client.delegations.cancel(info.id)).state for _ in range(3)}
        watching = Watching(client, info.id)
        last = await watching.to_the_end()
    assert states == {last.state}
    assert checks.is_dense(watching.events)


async def test_a_deadline_passes_while_the_hub_is_down(mesh: ChaosMesh):
    async with mesh.app() as client:
        # Enough for a hub that has yet to load what runs delegations.
        deadline = SystemClock().now() + timedelta(seconds=10)
        work = replace(planned(*HELD), limits=Limits(deadline=deadline))
        info = await hand_over(client, work)
        await mesh.has_begun("one")
        mesh.hub.kill()
        await until(lambda: SystemClock().now() > deadline, "the deadline")
        await mesh.start_hub()
        last = await Watching(client, info.id).to_the_end()
    assert last.state is DelegationState.FAILED
    assert last.problem is not None
    assert last.problem.reason == "deadline_exceeded"
    mesh.open("go")
