"""K12: steps are known again by their order alone, so each has its own result, in whichever order they end before and after."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from hub.journal.engine import Engine
from hubspoke.types import DelegationId
from tests.fakes.pauses import pause

if TYPE_CHECKING:
    from pathlib import Path

    from hub.journal.journal import Steps

DELEGATIONS = [DelegationId(f"d{number}") for number in range(24)]
STEPS = 6
LOOK_S = 0.02


class Life:
    """What a hub does between two deaths: the steps of each delegation end in an order of their own, up to *ends* of them."""

    def __init__(self, seed: int, ends: int) -> None:
        self._chance = random.Random(seed)
        self._ends = ends
        self.made: list[tuple[str, int]] = []
        self.results: dict[str, list[str]] = {}
        self.stood: set[str] = set()

    async def run(self, delegation: DelegationId, steps: Steps) -> None:
        """Take its steps, always in the same order, and do them in whichever."""
        places = [steps.reserve(f"step{number}") for number in range(STEPS)]
        order = self._chance.sample(range(STEPS), STEPS)
        done, news = set[int](), asyncio.Condition()

        async def make(number: int) -> str:
            before = set(order[: order.index(number)])
            async with news:
                await news.wait_for(lambda: before <= done)
            if len(before) >= self._ends:
                self.stood.add(delegation)
                await asyncio.Event().wait()
            self.made.append((delegation, number))
            return f"{delegation}/{number}"

        async def do(number: int) -> str:
            result = await places[number].run(lambda: make(number))
            async with news:
                done.add(number)
                news.notify_all()
            return result

        self.results[delegation] = list(await asyncio.gather(*map(do, range(STEPS))))


async def lived(url: sa.URL, life: Life) -> None:
    """Let a hub live until there is nothing more that it would do."""
    engine = Engine(url, "box", life.run)
    await engine.launch()
    try:
        await engine.begin(DELEGATIONS)
        async with asyncio.timeout(30):
            while len(life.stood | life.results.keys()) < len(DELEGATIONS):
                await pause(LOOK_S)
    finally:
        await engine.close()


@pytest.mark.parametrize("seed", range(2))
async def test_each_step_has_its_own_result_whichever_ends_first(tmp_path: Path, seed: int):
    url = sa.URL.create("sqlite", database=str(tmp_path / "steps.db"))
    first, second = Life(seed, 3), Life(seed + 100, STEPS)
    await lived(url, first)
    await lived(url, second)
    assert second.results == {each: [f"{each}/{number}" for number in range(STEPS)] for each in DELEGATIONS}
    assert len(first.made) == 3 * len(DELEGATIONS)
    assert not set(first.made) & set(second.made)
