"""The answer between the engine and the writer, without any stream."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from hubspoke.errors import Draining, EngineTruncated, Unsupported
from hubspoke.types import Delta, Finished, FinishReason, Request
from spoke.core.coalesce import BATCH_CHARS_MAX
from spoke.link.answer import Answer
from tests.fakes.engine import FakeEngine, Gate, a_model

if TYPE_CHECKING:
    from spoke.link.answer import Ending

FLUSH_S = 0.015
ASK = Request(model="tiny", prompt="x")


class Reading:
    """An answer of an engine with a script."""

    def __init__(self, group: asyncio.TaskGroup, *script, ask=None) -> None:
        self.engine = FakeEngine(a_model(), script=script)
        self.answer = Answer(ask or partial(self.engine.generate, "tiny", ASK), FLUSH_S)
        self.freed: list[bool] = []
        self.answer.start(group, lambda: self.freed.append(True))

    async def to_the_end(self) -> tuple[list[Delta], Ending]:
        batches = []
        while isinstance(piece := await self.answer.next(), Delta):
            batches.append(piece)
        return batches, piece


async def test_an_answer_is_its_batches_and_then_its_ending():
    async with asyncio.TaskGroup() as group:
        batches, ending = await Reading(group, "a", "b", "c").to_the_end()
    assert "".join(batch.text for batch in batches) == "abc"
    assert isinstance(ending, Finished)
    assert ending.reason is FinishReason.STOP


async def test_the_engine_is_closed_before_the_ending_is_told():
    async with asyncio.TaskGroup() as group:
        reading = Reading(group, "a")
        await reading.to_the_end()
        assert reading.engine.running == 0
        assert reading.freed == [True]


async def test_an_engine_waits_while_nobody_takes_what_it_says():
    line = "x" * 1_000
    async with asyncio.TaskGroup() as group:
        gates = [Gate() for _ in range(100)]
        for gate in gates:
            gate.open()
        reading = Reading(group, *(step for gate in gates for step in (gate, line)))
        for _ in range(500):  # rounds of the loop: more than the engine needs for everything
            await asyncio.sleep(0)
        said = sum(gate.reached.is_set() for gate in gates)
        assert said <= BATCH_CHARS_MAX // len(line) + 2
        batches, _ = await reading.to_the_end()
        assert sum(batch.tokens for batch in batches) == 100


async def test_a_stop_before_the_engine_was_asked_still_ends_the_answer():
    async with asyncio.TaskGroup() as group:
        reading = Reading(group, "a")
        reading.answer.stop()
        batches, ending = await reading.to_the_end()
    assert not batches
    assert isinstance(ending, Finished)
    assert ending.reason is FinishReason.CANCELLED
    assert not reading.engine.requests


async def test_a_stop_says_how_many_tokens_were_sent():
    async with asyncio.TaskGroup() as group:
        reading = Reading(group, "a", Gate())
        assert await reading.answer.next() == Delta("a", 1)
        reading.answer.stop()
        _, ending = await reading.to_the_end()
    assert isinstance(ending, Finished)
    assert ending.usage.output_tokens == 1


async def test_the_first_stop_counts():
    async with asyncio.TaskGroup() as group:
        reading = Reading(group, Gate())
        reading.answer.stop(why := Draining("leaving"))
        reading.answer.stop()
        _, ending = await reading.to_the_end()
    assert ending is why


async def test_a_stop_after_the_end_changes_nothing():
    async with asyncio.TaskGroup() as group:
        reading = Reading(group, "a")
        _, ending = await reading.to_the_end()
        reading.answer.stop()
    assert isinstance(ending, Finished)
    assert ending.reason is FinishReason.STOP


async def test_an_engine_that_never_says_finished_has_broken_off():
    async def breaks_off():
        yield Delta("a")

    async with asyncio.TaskGroup() as group:
        batches, ending = await Reading(group, ask=breaks_off).to_the_end()
    assert batches == [Delta("a", 1)]
    assert isinstance(ending, EngineTruncated)


async def test_an_engine_that_cannot_be_asked_is_the_ending():
    def refuses():
        raise Unsupported("not this")

    async with asyncio.TaskGroup() as group:
        _, ending = await Reading(group, ask=refuses).to_the_end()
    assert isinstance(ending, Unsupported)
