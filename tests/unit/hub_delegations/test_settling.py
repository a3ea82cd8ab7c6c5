"""Spokes keep nothing that nobody wants any more, whichever of them was asked for it, and whoever ended it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from hub.delegations.asking import Asker
from hub.delegations.delegations import Delegations
from hub.delegations.desk import Desk
from hub.delegations.run import run
from hub.delegations.settling import Settling
from hub.dispatch.journey import Dispatch
from hub.journal.accepting import New
from hub.journal.formats import prepare
from hub.journal.journal import Journal
from hub.journal.opening import Opened
from hub.relay.held import HeldTasks
from hub.relay.sessions import Sessions
from hub.store.database import Database
from hubspoke.types import DelegationId, DelegationState, Goal, HeldTask, SpokeId, Task, TaskKey, Work
from tests.fakes.clock import MovableClock
from tests.fakes.real_hub import an_inventory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hub.journal.journal import Step
    from hub.relay.outbox import Outbox
    from hub.relay.sessions import Reply

D = DelegationId("d")
KEY = TaskKey("d/a/0.0")
DEN, ATTIC = SpokeId("den"), SpokeId("attic")
HELD = HeldTask(Task(KEY, 1, hashlib.sha256(b"x").digest()), done=False)


class Ground:
    """A hub's part that settles, with one delegation that nobody runs yet."""

    def __init__(self, journal: Journal) -> None:
        clock = MovableClock()
        self.sessions = Sessions(clock)
        self.held = HeldTasks(self.sessions)
        self.settling = Settling(journal, self.held)
        self.held.on_brought(self.settling.brought)
        asker = Asker(Dispatch(self.sessions, clock), self.sessions, self.held, clock)
        self.desk = Desk(journal, asker, self.settling, self.sessions, clock, ())
        steps = sa.URL.create("sqlite", database=":memory:")  # nothing is run
        self.delegations = Delegations(self.desk, Opened(journal, steps, is_shared=False))

    def connect(self, spoke: SpokeId, *held: HeldTask) -> Outbox[Reply]:
        """Let *spoke* come with what it holds, and give what it is told."""
        session = self.sessions.register(
            spoke, inventory=an_inventory(), slots=1, agent_version="test", speeds={}
        )
        words = self.sessions.heartbeat(spoke, session)
        self.held.brought(spoke, session, held)
        return words


class NoSteps:
    """What nothing is done with."""

    def reserve(self, name: str) -> Step:
        raise AssertionError(f"{name} was to be done")


async def settled(words: Outbox[Reply]) -> tuple[TaskKey, ...]:
    """Give what a spoke was told to forget."""
    words.close()
    return tuple([key async for reply in words for key in reply.settled])


@pytest.fixture
async def ground(tmp_path: Path) -> AsyncIterator[Ground]:
    journal = Journal(await Database.open_tables(tmp_path / "delegations.db", prepare), "box", MovableClock())
    await journal.accept(New(D, "app", Work("1", Goal("x")), "digest", 1.0, 2.0, "box"))
    yield Ground(journal)
    await journal.close()


async def test_what_is_cancelled_before_it_runs_again_is_wanted_from_nobody(ground: Ground):
    den = ground.connect(DEN, HELD)
    await ground.settling.look()  # the hub has just come up, and it was wanted until now
    await ground.delegations.cancel(D, None)
    await ground.settling.look()
    assert await settled(den) == (KEY,)


async def test_of_two_spokes_that_were_asked_for_the_same_both_forget_it(ground: Ground):
    den, attic = ground.connect(DEN), ground.connect(ATTIC)
    ground.settling.given(KEY, DEN)
    ground.settling.given(KEY, ATTIC)
    ground.settling.settle(KEY, ATTIC)
    assert (await settled(den), await settled(attic)) == ((KEY,), (KEY,))


async def test_what_is_cancelled_while_it_runs_is_wanted_from_nobody(ground: Ground):
    den, attic = ground.connect(DEN), ground.connect(ATTIC)
    ground.settling.given(KEY, DEN)
    ground.settling.given(KEY, ATTIC)
    await ground.delegations.cancel(D, None)
    await ground.settling.look()
    assert (await settled(den), await settled(attic)) == ((KEY,), (KEY,))


async def test_what_is_cancelled_as_soon_as_it_is_accepted_is_never_begun(ground: Ground):
    assert (await ground.delegations.get(D, None)).state is DelegationState.ACCEPTED
    states = [(await ground.delegations.cancel(D, None)).state for _ in range(2)]
    await run(ground.desk, D, NoSteps())
    events = [event async for event in ground.delegations.watch(D, None, 1)]
    assert {*states, (await ground.delegations.get(D, None)).state} == {DelegationState.CANCELLED}
    assert [event.seq for event in events] == [1, 2]
