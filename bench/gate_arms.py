"""The three ways that the bench of the gate compares: the big model alone, one spoke alone, and what the gate says."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from hub.core.delegation import approach, checks, chunks, gate, merges, prompts, review
from hub.core.delegation.cost import tokens
from hub.core.delegation.families import family_of
from hub.core.delegation.merges import Output
from hub.core.delegation.prompts import Answered, Source
from hub.core.delegation.review import Deed
from hub.core.estimator import BYTES_PER_TOKEN
from hubspoke.types import Merge, Mode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.gate_jobs import Task
    from bench.gate_models import Models, Said
    from hub.core.delegation.cost import Fleet, Lane
    from hub.core.delegation.gate import Choice
    from hubspoke.types import Plan, Subtask


class Outcome(NamedTuple):
    """What one way has cost, and what came of it."""

    seconds: float
    big_tokens: int
    small_tokens: int
    result: str


@dataclass(slots=True)
class Meter:
    """Asks, and counts what that takes."""

    models: Models
    big: str
    big_tokens: int = 0
    small_tokens: int = 0

    async def ask(self, model: str, prompt: str, schema: str = "") -> str:
        """Ask *model*; the big one when that is empty."""
        said: Said = await self.models.ask(model or self.big, prompt, schema)
        spent = said.prompt_tokens + said.output_tokens
        if model in {"", self.big}:
            self.big_tokens += spent
        else:
            self.small_tokens += spent
        return said.text


async def alone(models: Models, lane: Lane, big: str, task: Task) -> Outcome:
    """Let one model do it all: what does not fit into its context piece after piece."""
    meter, began_at = Meter(models, big), asyncio.get_running_loop().time()
    family = family_of(lane.model)
    room = (
        int(lane.context_tokens * gate.HEADROOM) - tokens(len(task.goal.text.encode())) - chunks.ROOM_TOKENS
    )
    sources = [
        Source(one.name, piece)
        for one in task.inputs
        for piece in chunks.chunks(one.text, max(room, chunks.CHUNK_TOKENS_MIN) * BYTES_PER_TOKEN)
    ]
    if len(sources) <= 1:
        result = await meter.ask(lane.model, family.solo(task.goal.text, sources))
    else:
        found = [await meter.ask(lane.model, family.work(task.goal.text, [one])) for one in sources]
        result = "\n".join(found)
    return _outcome(meter, began_at, result)


async def gated(models: Models, fleet: Fleet, task: Task) -> tuple[Choice, Outcome]:
    """Do what the gate says."""
    family = family_of(fleet.big.model)
    job = gate.job_of(task.goal, task.inputs, family)
    choice = gate.choose(job, fleet)
    if choice.mode is Mode.SOLO:
        return choice, await alone(models, fleet.big, fleet.big.model, task)
    meter, began_at = Meter(models, fleet.big.model), asyncio.get_running_loop().time()
    plan = approach.by_rule(choice, job, task.goal, task.inputs, fleet)
    if plan is None:
        raise RuntimeError(f"the bench has no goals that take a planner, and {task.goal.text!r} is one")
    result = await Run(meter, task, plan).result()
    return choice, _outcome(meter, began_at, result)


class Run:
    """One plan whose subtasks do not depend on each other, from the first of them to the result."""

    def __init__(self, meter: Meter, task: Task, plan: Plan) -> None:
        self._meter, self._task, self._plan = meter, task, plan
        self._texts = {one.name: one.text.encode() for one in task.inputs}
        self._outputs: dict[str, str] = {}

    async def result(self) -> str:
        """Work, review, and merge."""
        await asyncio.gather(*(self._work(one) for one in self._plan.subtasks))
        left = [one for one in self._plan.subtasks if self._is_open(one)]
        for number in range(1, review.ROUNDS_MAX + 1):
            left = await self._round(left, number) if left else []
        return await self._merged()

    def _is_open(self, subtask: Subtask) -> bool:
        return review.needs_review(self._outputs[subtask.id], not_found_allowed=True)

    async def _work(self, subtask: Subtask, refused: str = "", *, by_big: bool = False) -> None:
        model = "" if by_big else subtask.model
        family = family_of(model or self._meter.big)
        sources = [
            Source(read.input, text) for read, text in zip(subtask.reads, self._read(subtask), strict=True)
        ]
        if refused and not by_big:
            told = family.repair(subtask.instruction, sources, self._outputs[subtask.id], refused)
        else:
            told = family.work(subtask.instruction, sources)
        self._outputs[subtask.id] = await self._meter.ask(model, told)
        if not refused and (
            fault := checks.fault(subtask.checks, self._outputs[subtask.id], self._read(subtask))
        ):
            await self._work(subtask, fault)

    async def _round(self, left: Sequence[Subtask], number: int) -> list[Subtask]:
        """Review what is open, have it done again where that was said, and give what is to be reviewed anew."""
        again: list[Subtask] = []
        by_id = {one.id: one for one in left}
        for batch in review.batches([self._shown(one) for one in left]):
            told = review.prompt(family_of(self._meter.big), self._task.goal.text, batch)
            text = await self._meter.ask("", told, review.SCHEMA)
            for verdict in review.verdicts(text, [one.id for one in batch]):
                deed = review.after(verdict, number)
                if deed is Deed.REDO:
                    await self._work(by_id[verdict.subtask], verdict.reason, by_big=True)
                elif deed is Deed.REPAIR:
                    await self._work(by_id[verdict.subtask], verdict.reason)
                    again.append(by_id[verdict.subtask])
        return again

    def _shown(self, subtask: Subtask) -> Answered:
        return review.shown(subtask.id, subtask.instruction, self._outputs[subtask.id], self._read(subtask))

    def _read(self, subtask: Subtask) -> list[str]:
        return [self._texts[read.input][read.begin : read.end or None].decode() for read in subtask.reads]

    async def _merged(self) -> str:
        outputs = [Output(one.id, self._outputs[one.id]) for one in self._plan.subtasks]
        merge = family_of(self._meter.big).merge
        if self._plan.merge is not Merge.MODEL or merge is None:
            return merges.merged(self._plan.merge, outputs)
        answered = [prompts.Answered(one.id, self._task.goal.text, one.text) for one in outputs]
        return await self._meter.ask("", merge(self._task.goal.text, answered))


def _outcome(meter: Meter, began_at: float, result: str) -> Outcome:
    seconds = asyncio.get_running_loop().time() - began_at
    return Outcome(seconds, meter.big_tokens, meter.small_tokens, result)
