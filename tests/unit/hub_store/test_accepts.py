"""How models did is known after a restart, on a real SQLite file."""

from __future__ import annotations

from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from hub.core.delegation.accepts import (
    RETRY_S,
    REVIEWS_MIN,
    TALLIES_MAX,
    Accepts,
    Kind,
    Tally,
    is_trusted,
    reviewed,
)
from hub.store.accepts import AcceptStore
from hub.store.database import Database
from hubspoke.types import ModelKey
from tests.fakes.clock import MovableClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

EXTRACT, FORMAT = Kind(ModelKey("sha256:aa"), "extract"), Kind(ModelKey("sha256:aa"), "")
DAY_S, SINCE_S = 86_400.0, 3_600.0


class Restarted(MovableClock):
    """Of a process whose clock that only goes forward began anew, an hour later."""

    def monotonic(self) -> float:
        return super().monotonic() - 1e6

    def __init__(self) -> None:
        super().__init__()
        self.set_day(SINCE_S)


@asynccontextmanager
async def opened(directory: Path, clock: MovableClock) -> AsyncIterator[AcceptStore]:
    """The store of one run of the hub."""
    database = await Database.open(directory / "state.db")
    try:
        yield AcceptStore(database, clock)
    finally:
        await database.close()


def failed(clock: MovableClock) -> Accepts:
    accepts = Accepts()
    for _ in range(REVIEWS_MIN):
        accepts = reviewed(accepts, EXTRACT, accepted=False, now=clock.monotonic())
    return reviewed(accepts, FORMAT, accepted=True, now=clock.monotonic())


async def test_who_failed_is_still_known_after_a_restart_and_tried_again_after_the_same_day(tmp_path: Path):
    before, after = MovableClock(), Restarted()
    async with opened(tmp_path, before) as store:
        assert await store.load() == Accepts()
        await store.save(failed(before))
    async with opened(tmp_path, after) as store:
        found = await store.load()
    now = after.monotonic()
    assert not is_trusted(found, EXTRACT, now)
    assert is_trusted(found, FORMAT, now)
    assert not is_trusted(found, EXTRACT, now + RETRY_S - SINCE_S - 60)
    assert is_trusted(found, EXTRACT, now + RETRY_S - SINCE_S)


async def test_what_is_learnt_later_is_kept_beside_what_was_known(tmp_path: Path):
    clock = MovableClock()
    for count in (1, 2, 3):
        async with opened(tmp_path, clock) as store:
            found = await store.load()
            found = reviewed(found, EXTRACT, accepted=True, now=clock.monotonic())
            await store.save(found)
            assert (found.tallies[EXTRACT].accepted, found.tallies[EXTRACT].reviewed) == (count, count)


async def test_what_is_forgotten_is_not_kept_either(tmp_path: Path):
    clock = MovableClock()
    async with opened(tmp_path, clock) as store:
        known = failed(clock)
        await store.save(known)
        await store.save(Accepts(MappingProxyType({FORMAT: known.tallies[FORMAT]})))
    async with opened(tmp_path, clock) as store:
        assert (await store.load()).tallies.keys() == {FORMAT}


async def test_no_more_is_kept_than_is_remembered(tmp_path: Path):
    clock = MovableClock()
    now = clock.monotonic()
    many = {Kind(ModelKey(str(number)), ""): Tally(1.0, 1.0, now + number) for number in range(10)}
    rest = {
        Kind(ModelKey(f"old-{number}"), ""): Tally(1.0, 1.0, now - number)
        for number in range(1, TALLIES_MAX - 5)
    }
    async with opened(tmp_path, clock) as store:
        await store.save(Accepts(MappingProxyType({**rest, **many})))
    for _ in range(2):
        async with opened(tmp_path, clock) as store:
            found = await store.load()
            assert len(found.tallies) == TALLIES_MAX
            assert found.tallies.keys() >= many.keys()
            await store.save(found)


async def test_a_time_of_day_that_is_still_to_come_keeps_nobody_away_for_longer(tmp_path: Path):
    ahead, right = MovableClock(), MovableClock()
    ahead.set_day(30 * DAY_S)
    async with opened(tmp_path, ahead) as store:
        await store.save(failed(ahead))
    async with opened(tmp_path, right) as store:
        found = await store.load()
    assert found.tallies[EXTRACT].last_at == pytest.approx(right.monotonic(), abs=30)
