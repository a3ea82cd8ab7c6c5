"""What is kept of delegations, and what whoever watches sees of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hub.journal.accepting import New
from hub.journal.formats import prepare
from hub.journal.journal import RETENTION_S, Journal
from hub.journal.rows import Over, Query, Resolution, Taken, parked_key
from hub.store.database import Database
from hubspoke.errors import RequestIdTaken, UnknownDelegation, WrongState
from hubspoke.types import (
    DelegationId,
    DelegationState,
    Goal,
    Mode,
    Planned,
    Progress,
    StateChanged,
    SubtaskId,
    SubtaskState,
    SubtaskStatus,
    Verb,
    Work,
)
from tests.fakes.clock import MovableClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

D, A = DelegationId("d"), SubtaskId("a")
NEW = New(D, "app", Work("1", Goal("x"), labels={"for": "me"}), "digest", 1.0, 2.0, "box")
RUNNING = StateChanged(DelegationState.RUNNING)
ENDED = StateChanged(DelegationState.SUCCEEDED, "the result")


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    database = await Database.open_tables(tmp_path / "delegations.db", prepare)
    journal = Journal(database, "box", MovableClock())
    await journal.accept(NEW)
    yield journal
    await journal.close()


async def test_what_is_accepted_twice_is_there_once(journal: Journal):
    info, existed = await journal.accept(NEW)
    assert existed
    assert await journal.list(Query(None)) == (info,)
    with pytest.raises(RequestIdTaken):
        await journal.accept(replace(NEW, digest="other"))


async def test_an_event_with_the_same_key_is_written_once(journal: Journal):
    assert [await journal.append(D, "running", RUNNING) for _ in range(3)] == [True, False, False]
    assert (await journal.info(D)).last_seq == 2


async def test_nothing_is_written_after_the_end(journal: Journal):
    await journal.append(D, "ended", ENDED)
    with pytest.raises(Over):
        await journal.append(D, "running", RUNNING)
    await journal.cancel(D)
    assert (await journal.get(D)).state is DelegationState.SUCCEEDED
    assert (await journal.get(D)).result == "the result"


async def test_who_has_lost_a_delegation_writes_nothing(journal: Journal):
    assert await journal.adopt_dead() == ()
    journal.executor = "other"
    assert await journal.unfinished() == ()
    assert await journal.adopt_dead() == await journal.unfinished() == (D,)
    journal.executor = "box"
    with pytest.raises(Taken):
        await journal.append(D, "running", RUNNING)
    with pytest.raises(Taken):
        await journal.begin(D)


async def test_who_watches_slowly_delays_nobody_and_misses_nothing(journal: Journal):
    """K9: what is kept waits in the database, and of progress only the latest is left."""
    slow = journal.events(D, 1)
    assert (await anext(slow)).seq == 1
    for number in range(2, 600):
        await journal.append(D, str(number), RUNNING)
        journal.tell_progress(D, Progress(A, "den", number))
    await journal.append(D, "ended", ENDED)
    events = [event async for event in slow]
    assert [event.seq for event in events if event.seq] == list(range(2, 601))
    assert [event.happening for event in events if not event.seq] == [Progress(A, "den", 599)]
    assert events[-1].happening == ENDED


async def test_who_watches_on_from_a_number_hears_what_follows(journal: Journal):
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(_all(journal, 2))
        await journal.append(D, "running", RUNNING)
        await journal.append(D, "ended", ENDED)
    assert [event.happening for event in watching.result()] == [RUNNING, ENDED]


async def test_a_hub_that_stops_lets_watchers_go(journal: Journal):
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(_all(journal, 1))
        await journal.append(D, "running", RUNNING)
        journal.let_watchers_go()
    assert len(watching.result()) <= 2


async def test_what_is_parked_is_resolved_once(journal: Journal):
    await journal.append(D, "planned", Planned(Mode.DAG, (SubtaskStatus(A, SubtaskState.WAITING, "do it"),)))
    with pytest.raises(WrongState):
        await journal.resume_parked(D, A, Resolution(Verb.SKIP))
    await journal.append(D, parked_key(A, 1), SubtaskStatus(A, SubtaskState.PARKED))
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(journal.resolution(D, A, 1))
        await journal.resume_parked(D, A, Resolution(Verb.SUPPLY, "this"))
    assert waiting.result() == Resolution(Verb.SUPPLY, "this")
    with pytest.raises(WrongState):
        await journal.resume_parked(D, A, Resolution(Verb.SKIP))
    assert (await journal.get(D)).subtasks[0].title == "do it"


async def test_of_a_delegation_that_waits_for_a_subtask_the_whole_is_not_parked(journal: Journal):
    await journal.append(D, "planned", Planned(Mode.DAG, (SubtaskStatus(A, SubtaskState.WAITING, "do it"),)))
    await journal.append(D, parked_key(A, 1), SubtaskStatus(A, SubtaskState.PARKED))
    await journal.append(D, f"parked/{A}/1", StateChanged(DelegationState.PARKED))
    with pytest.raises(WrongState):
        await journal.resume_parked(D, None, Resolution(Verb.RETRY))
    await journal.resume_parked(D, A, Resolution(Verb.RETRY))


async def test_what_ended_long_ago_is_forgotten(tmp_path: Path):
    clock = MovableClock()
    database = await Database.open_tables(tmp_path / "delegations.db", prepare)
    journal = Journal(database, "box", clock)
    await journal.accept(NEW)
    await journal.append(D, "ended", ENDED)
    assert await journal.purge() == ()
    clock.move(RETENTION_S + 1)
    assert await journal.purge() == (D,)
    with pytest.raises(UnknownDelegation):
        await journal.get(D)
    await journal.close()


async def test_beginnings_are_counted_until_something_comes_of_them(journal: Journal):
    assert (await journal.begin(D)).starts == 1
    assert (await journal.begin(D)).starts == 2
    await journal.prove(D)
    kept = await journal.begin(D)
    assert (kept.starts, kept.epoch) == (1, 3)


async def test_beginnings_that_another_hub_counts_are_left_to_it(tmp_path: Path):
    database = await Database.open_tables(tmp_path / "delegations.db", prepare)
    lost, leads = (Journal(database, hub, MovableClock()) for hub in ("box", "tower"))
    await lost.accept(NEW)
    await leads.adopt_dead()
    await leads.begin(D)
    await lost.prove(D)
    assert (await leads.begin(D)).starts == 2
    await database.close()


async def _all(journal: Journal, from_seq: int) -> list[object]:
    return [event async for event in journal.events(D, from_seq)]
