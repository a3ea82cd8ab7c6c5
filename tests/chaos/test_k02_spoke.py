"""K2, K3 and K5: spokes are killed, frozen, wiped and late; the hub is down at the same time, or is not."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from hubspoke.types import DelegationState
from tests.chaos import checks
from tests.chaos.mesh import Watching, hand_over
from tests.chaos.processes import until
from tests.chaos.works import Part, planned, result_of
from tests.fakes.pauses import pause

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hubspoke.types import Work
    from tests.chaos.mesh import ChaosMesh

ONE = (Part("one"),)
HELD = (Part("one", (), "gate=go"),)


@asynccontextmanager
async def done(mesh: ChaosMesh, work: Work, result: str) -> AsyncIterator[None]:
    """Hand *work* over; when the block has ended its result has to come, and to be *result*."""
    async with mesh.app() as client:
        info = await hand_over(client, work)
        watching = Watching(client, info.id)
        ending = asyncio.create_task(watching.to_the_end())
        yield
        last = await ending
    assert (last.state, last.result) == (DelegationState.SUCCEEDED, result)
    assert checks.is_dense(watching.events)
    await until(lambda: mesh.results == [], "spokes to forget what nobody wants any more")


@pytest.mark.parametrize("point", ["assigned", "stored", "settling"])
async def test_a_subtask_is_finished_once_when_its_spoke_dies_and_comes_back(mesh: ChaosMesh, point: str):
    for name in mesh.spokes:
        mesh.dies(name, point)
    async with done(mesh, planned(*ONE), result_of(*ONE)):
        dead = await mesh.one_died()
        for name in mesh.spokes:
            mesh.lives(name, point)
        dead.start()
    assert checks.finished_names(mesh.moments, mesh.killed) == {"one": 1}


async def test_what_ran_on_a_spoke_that_died_is_begun_again(mesh: ChaosMesh):
    async with done(mesh, planned(*HELD), result_of(*HELD)):
        await mesh.has_begun("one")
        spoke = mesh.has("one")
        spoke.kill()
        mesh.open("go")
        spoke.start()
    assert checks.finished_names(mesh.moments, mesh.killed) == {"one": 1}


async def test_a_spoke_that_stays_away_is_replaced_after_the_grace(mesh: ChaosMesh):
    async with done(mesh, planned(*HELD), result_of(*HELD)):
        await mesh.has_begun("one")
        mesh.has("one").kill()
        mesh.open("go")
    assert len({one.who for one in mesh.moments if one.what == "begun"}) == 2


async def test_a_spoke_that_lost_its_disk_does_it_again(mesh: ChaosMesh):
    async with done(mesh, planned(*HELD), result_of(*HELD)):
        await mesh.has_begun("one")
        spoke = mesh.has("one")
        mesh.hub.kill()
        mesh.open("go")
        await mesh.has_finished("one")
        spoke.kill()
        for path in mesh.results:
            path.unlink()
        mesh.wiped = True
        spoke.start()
        await mesh.start_hub()
    assert checks.begun(mesh.moments, "one") == 2


async def test_the_hub_and_a_spoke_die_at_once(mesh: ChaosMesh):
    parts = (Part("one", (), "gate=go"), Part("two", (), "gate=go"), Part("three", ("one", "two")))
    async with done(mesh, planned(*parts), result_of(*parts)):
        await mesh.has_begun("one", "two")
        spoke = mesh.has("one")
        mesh.hub.kill()
        spoke.kill()
        mesh.open("go")
        spoke.start()
        await mesh.start_hub()
    assert checks.finished_names(mesh.moments, mesh.killed) == {"one": 1, "two": 1, "three": 1}


async def test_whoever_holds_a_result_is_away_while_the_hub_comes_back(mesh: ChaosMesh):
    async with done(mesh, planned(*HELD), result_of(*HELD)):
        await mesh.has_begun("one")
        spoke = mesh.has("one")
        mesh.hub.kill()
        mesh.open("go")
        await mesh.has_finished("one")
        spoke.kill()
        await mesh.start_hub()
        spoke.start()  # it takes longer to come than the hub to look for it
    assert checks.begun(mesh.moments, "one") == 1


async def test_of_two_results_the_first_is_kept(mesh: ChaosMesh):
    async with done(mesh, planned(*HELD), result_of(*HELD)):
        await mesh.has_begun("one")
        late = mesh.has("one")
        late.freeze()
        other = next(name for name, spoke in mesh.spokes.items() if spoke is not late)
        await mesh.began_on(other)
        late.thaw()
        mesh.open("go")
    mesh.wiped = True  # both may have finished it: nobody could tell that the late one was there


async def test_a_spoke_that_is_frozen_for_a_moment_goes_on(mesh: ChaosMesh):
    async with done(mesh, planned(*HELD), result_of(*HELD)):
        await mesh.has_begun("one")
        spoke = mesh.has("one")
        spoke.freeze()
        await pause(1)
        spoke.thaw()
        mesh.open("go")
    assert checks.begun(mesh.moments, "one") == 1


async def test_a_hub_that_is_frozen_for_a_while_goes_on(mesh: ChaosMesh):
    async with done(mesh, planned(*HELD), result_of(*HELD)):
        await mesh.has_begun("one")
        mesh.hub.freeze()
        mesh.open("go")
        await mesh.has_finished("one")
        await pause(4)
        mesh.hub.thaw()
    assert checks.begun(mesh.moments, "one") == 1
