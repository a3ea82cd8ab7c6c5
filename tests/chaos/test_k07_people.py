"""K7, K9 and K14: poison, watching, and the same request again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hubspoke.errors import RequestIdTaken
from hubspoke.types import DelegationState, Verb
from tests.chaos import checks
from tests.chaos.mesh import Watching, hand_over, stands
from tests.chaos.works import Part, delicate, diamond, planned, result_of

if TYPE_CHECKING:
    from hubspoke.types import Work
    from tests.chaos.mesh import ChaosMesh

HELD = (Part("one", (), "gate=go"),)


@pytest.mark.parametrize("verb", [Verb.RETRY, Verb.SKIP, Verb.SUPPLY, Verb.RETRY_ON_ORCHESTRATOR, Verb.ABORT])
async def test_what_kills_two_spokes_is_parked_for_a_person(mesh: ChaosMesh, verb: Verb):
    parts = (Part("bad", (), "dies=2"), Part("good"))
    async with mesh.app() as client:
        info = await hand_over(client, planned(*parts))
        watching = Watching(client, info.id)
        ending = asyncio.create_task(watching.to_the_end())
        for _ in mesh.spokes:
            dead = await mesh.one_died()
            dead.start()
        await stands(client, info.id, DelegationState.PARKED)
        mesh.hub.kill()
        await mesh.start_hub()
        await mesh.is_ready()
        await client.delegations.resolve(
            info.id, verb, subtask="bad", output="by hand" if verb is Verb.SUPPLY else ""
        )
        last = await ending
    good = {Verb.SKIP: "good(x)", Verb.SUPPLY: "by hand\ngood(x)"}.get(verb, "bad(x)\ngood(x)")
    if verb is Verb.ABORT:
        assert last.state is DelegationState.FAILED
    else:
        assert last.result.strip() == good
    assert checks.is_dense(watching.events)
    assert checks.finished_names(mesh.moments, mesh.killed)["good"] == 1


async def test_what_must_not_be_done_twice_is_never_guessed(mesh: ChaosMesh):
    async with mesh.app() as client:
        info = await hand_over(client, delicate(planned(*HELD)))
        await mesh.has_begun("one")
        mesh.has("one").kill()
        mesh.open("go")
        await stands(client, info.id, DelegationState.PARKED)
        await client.delegations.resolve(info.id, Verb.SUPPLY, subtask="one", output="by hand")
        last = await Watching(client, info.id).to_the_end()
    assert last.result == "by hand"
    assert checks.begun(mesh.moments, "one") == 1


@pytest.mark.parametrize("every", [1, 3])
async def test_who_stops_watching_after_every_few_events_misses_none(mesh: ChaosMesh, every: int):
    parts = diamond("ms=30", width=2)
    async with mesh.app() as client:
        info = await hand_over(client, planned(*parts))
        events, taken = [], None
        while taken is None or len(taken) == every:
            taken = []
            async for event in client.delegations.watch(info.id, len(events) + 1):
                if event.seq:
                    taken.append(event)
                if len(taken) == every:
                    break
            events += taken
            if getattr(taken[-1].happening, "state", None) is DelegationState.SUCCEEDED:
                break
    assert checks.is_dense(events)
    assert events[-1].happening.result == result_of(*parts)


async def test_who_does_not_read_delays_nobody(mesh: ChaosMesh):
    parts = diamond("ms=10", width=8)
    async with mesh.app() as client:
        info = await hand_over(client, planned(*parts))
        slow = client.delegations.watch(info.id)
        first = await anext(slow)
        last = await Watching(client, info.id).to_the_end()
        rest = [event async for event in slow]
    assert last.result == result_of(*parts)
    assert checks.is_dense([first, *rest])


async def test_the_same_request_is_one_delegation_over_a_death_and_another_body_is_refused(mesh: ChaosMesh):
    work: Work = planned(Part("one"))
    async with mesh.app() as client:
        first = await hand_over(client, work)
        await Watching(client, first.id).to_the_end()
        mesh.hub.kill()
        await mesh.start_hub()
        again = await hand_over(client, work)
        with pytest.raises(RequestIdTaken):
            await hand_over(client, replace(work, partial=True))
    assert (first.id, again.state) == (again.id, DelegationState.SUCCEEDED)
    assert checks.begun(mesh.moments, "one") == 1
