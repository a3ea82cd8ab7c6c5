"""Who has a task: spokes find back to a hub that has come up in any order."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from hub.delegations.asking import GRACE_S, NEWCOMERS_S, Asker, Found
from hub.dispatch.journey import Dispatch
from hub.relay.held import HeldTasks
from hub.relay.sessions import Sessions
from hubspoke.types import HeldTask, SpokeId, Task, TaskKey
from tests.fakes.clock import MovableClock
from tests.fakes.real_hub import an_inventory

KEY = TaskKey("d/a/0.0")
DEN, ATTIC = SpokeId("den"), SpokeId("attic")
HELD = HeldTask(Task(KEY, 1, hashlib.sha256(b"x").digest()), done=True)


class Ground:
    """A hub's part that looks for tasks, of a hub that has just come up."""

    def __init__(self) -> None:
        self.clock = MovableClock()
        self.sessions = Sessions(self.clock)
        self.held = HeldTasks(self.sessions)
        self.asker = Asker(Dispatch(self.sessions, self.clock), self.sessions, self.held, self.clock)
        self.since = self.clock.monotonic()

    def connect(self, spoke: SpokeId, *held: HeldTask) -> None:
        """Let *spoke* come with what it holds."""
        session = self.sessions.register(
            spoke, inventory=an_inventory(), slots=1, agent_version="test", speeds={}
        )
        self.held.brought(spoke, session, held)

    async def look(self, last: SpokeId | None) -> Found:
        """Look for the task, of which *last* is known to have had it."""
        return await self.asker.look(KEY, last, self.since)


async def test_who_has_it_is_found_though_whoever_had_it_last_was_back_first():
    """One had refused answers, another one the last try: both of them count."""
    ground = Ground()
    ground.connect(ATTIC)
    looking = asyncio.create_task(ground.look(ATTIC))
    await asyncio.sleep(0)
    assert not looking.done()
    ground.connect(DEN, HELD)
    assert await looking == Found(DEN)


@pytest.mark.parametrize("last", [ATTIC, None])
async def test_nobody_has_it_when_all_had_the_time_to_come_back(last: SpokeId | None):
    ground = Ground()
    ground.connect(ATTIC)
    ground.clock.move(NEWCOMERS_S)
    assert await ground.look(last) == Found(None)


async def test_who_stays_away_is_waited_for_and_may_have_done_it():
    ground = Ground()
    ground.clock.move(NEWCOMERS_S)
    looking = asyncio.create_task(ground.look(DEN))
    await asyncio.sleep(0)
    assert not looking.done()
    ground.clock.move(GRACE_S)
    assert await looking == Found(None, in_doubt=True)
