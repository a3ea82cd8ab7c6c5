"""What spokes bring back: tasks that went on while the hub was away."""

from __future__ import annotations

import hashlib

import pytest

from hub.relay.held import HeldTasks
from hub.relay.sessions import Sessions
from hubspoke.types import HeldTask, SpokeId, Task, TaskKey
from tests.fakes.clock import MovableClock
from tests.fakes.real_hub import an_inventory

DEN = SpokeId("den")
KEY = TaskKey("d1/s1/0")
HELD = HeldTask(Task(KEY, 1, hashlib.sha256(b"x").digest()), done=True)


class Ground:
    def __init__(self) -> None:
        self.sessions = Sessions(MovableClock())
        self.held = HeldTasks(self.sessions)
        self.heard: list[tuple[SpokeId, tuple[HeldTask, ...]]] = []
        self.held.on_brought(lambda spoke, held: self.heard.append((spoke, held)))

    def register(self) -> int:
        return self.sessions.register(DEN, inventory=an_inventory(), slots=1, agent_version="test", speeds={})


@pytest.fixture
def ground() -> Ground:
    return Ground()


async def test_nobody_knows_what_a_spoke_holds_before_it_has_said(ground: Ground) -> None:
    assert ground.held.of(DEN) is None
    session = ground.register()
    assert ground.held.of(DEN) is None
    ground.held.brought(DEN, session, (HELD,))
    assert ground.held.of(DEN) == {KEY: HELD}
    assert ground.heard == [(DEN, (HELD,))]


async def test_a_spoke_that_comes_back_says_anew(ground: Ground) -> None:
    ground.held.brought(DEN, ground.register(), (HELD,))
    session = ground.register()
    assert ground.held.of(DEN) is None
    ground.held.brought(DEN, session, ())
    assert ground.held.of(DEN) == {}


async def test_a_spoke_that_was_lost_holds_what_nobody_knows(ground: Ground) -> None:
    session = ground.register()
    ground.held.brought(DEN, session, (HELD,))
    ground.sessions.lose(DEN, session)
    assert ground.held.of(DEN) is None


async def test_a_settled_task_is_told_with_the_next_word_to_its_spoke(ground: Ground) -> None:
    session = ground.register()
    outbox = ground.sessions.heartbeat(DEN, session)
    ground.held.brought(DEN, session, (HELD,))
    ground.held.settle(DEN, KEY)
    assert ground.held.of(DEN) == {}
    async for reply in outbox:
        assert reply.settled == (KEY,)
        break


async def test_a_task_of_a_spoke_that_is_away_is_settled_when_it_is_back(ground: Ground) -> None:
    ground.held.settle(DEN, KEY)  # it is not there to hear, and that is no failure
    ground.held.brought(DEN, ground.register(), (HELD,))
    assert ground.heard == [(DEN, (HELD,))]  # whoever listens settles it now
