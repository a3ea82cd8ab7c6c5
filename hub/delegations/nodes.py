"""The subtasks of one delegation: each is done when all that it waits for is, and parked for a person when it must be."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from hub.core.delegation import checks, graph, plans, prompts
from hub.core.delegation.prompts import Source
from hub.delegations.doing import Job, Outcome, Refused
from hub.delegations.together import together
from hub.journal.patience import patiently
from hub.journal.rows import parked_key, title_of
from hubspoke.errors import NotAcceptable, from_reason
from hubspoke.types import (
    Check,
    DelegationState,
    Merge,
    Problem,
    SideEffect,
    Spent,
    SpokeId,
    SubtaskId,
    SubtaskState,
    SubtaskStatus,
    Verb,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hub.core.delegation.prompts import Family
    from hub.delegations.desk import Desk
    from hub.delegations.doing import Doer
    from hub.delegations.ledger import Ledger
    from hub.journal.journal import Step, Steps
    from hub.journal.rows import Kept, Resolution
    from hubspoke.types import Plan, Subtask

REVISIONS_MAX: Final = 8
"""How often one subtask is done over: after reviews, and after people."""


class Aborted(Exception):
    """Somebody has ended the delegation while it was parked."""


@dataclass(slots=True)
class Node:
    """A subtask as it comes along."""

    subtask: Subtask
    steps: list[Step]
    done: asyncio.Event = field(default_factory=asyncio.Event)
    revision: int = 0
    parks: int = 0
    outcome: Outcome | None = None
    is_skipped: bool = False
    spent: Spent = field(default_factory=Spent)

    @property
    def is_fixed(self) -> bool:
        """Whether it stays as it is: it must not be done twice, or a person has decided."""
        by_person = self.is_skipped or (
            self.outcome is not None and self.outcome == Outcome(self.outcome.text)
        )
        return self.subtask.side_effect is SideEffect.NON_IDEMPOTENT or by_person

    @property
    def output(self) -> str | None:
        """What it gave; `None` when it gave nothing."""
        if self.is_skipped:
            return ""
        return self.outcome.text if self.outcome is not None and self.outcome.is_good else None


class Nodes:
    """All subtasks of a plan. Their steps are reserved here, in the order of the plan, whatever happens later."""

    def __init__(
        self, desk: Desk, ledger: Ledger, doer: Doer, kept: Kept, *, plan: Plan, steps: Steps
    ) -> None:
        self._desk = desk
        self._ledger = ledger
        self._doer = doer
        self._kept = kept
        self._plan = plan
        self._texts = {each.name: each.text.encode() for each in kept.work.inputs}
        self._places = desk.places(kept.info.owner, kept.work.limits)
        self._parked = 0
        self.is_chosen_by_hub = False
        self.is_solo = False
        self.graph = plans.graph_of(plan)
        self.of: dict[SubtaskId, Node] = {}
        for subtask in plan.subtasks:
            reserved = [steps.reserve(f"{subtask.id}/{number}") for number in range(REVISIONS_MAX)]
            self.of[subtask.id] = Node(subtask, reserved)

    def statuses(self) -> tuple[SubtaskStatus, ...]:
        """Say how all stand before any is done."""
        return tuple(
            SubtaskStatus(
                id=node.subtask.id,
                state=SubtaskState.WAITING,
                title=title_of(node.subtask.instruction),
                depends_on=node.subtask.depends_on,
                model=node.subtask.model,
            )
            for node in self.of.values()
        )

    async def do_all(self) -> None:
        """Do all of them, those with the most behind them first; raise the error of one that fails if all are wanted."""
        order = graph.order(self.graph, dict.fromkeys(self.of, 1.0))
        await together(self._in_turn(self.of[SubtaskId(name)]) for name in order)

    async def again(self, name: SubtaskId, model: str, refused: Refused | None) -> None:
        """Do one over, by *model*; an output that was refused stays when no better one comes."""
        node = self.of[name]
        before = node.outcome
        await self._say(node, f"repairing/{node.revision}", SubtaskState.REPAIRING)
        await self._done_by(node, model, refused)
        if node.output is None and before is not None:
            node.outcome = before

    async def renew(self, name: SubtaskId) -> None:
        """Do one over because what it builds on has changed: its output is one of another time."""
        node = self.of[name]
        await self._say(node, f"renewing/{node.revision}", SubtaskState.REPAIRING)
        await self._done_or_left_out(node)

    async def say(self, name: SubtaskId, key: str, state: SubtaskState) -> None:
        """Write that a subtask stands otherwise now."""
        await self._say(self.of[name], key, state)

    def sources(self, subtask: Subtask) -> tuple[Source, ...]:
        """Give the texts that it reads, those of the subtasks before it not among them."""
        found = []
        for read in subtask.reads:
            data = self._texts[read.input]
            found.append(Source(read.input, data[read.begin : read.end or len(data)].decode()))
        return tuple(found)

    def results(self, subtask: Subtask) -> dict[str, str]:
        """Give the outputs of what it depends on."""
        return {name: self.of[name].output or "" for name in subtask.depends_on}

    async def _in_turn(self, node: Node) -> None:
        for name in node.subtask.depends_on:
            await self.of[name].done.wait()
        await self._done_or_left_out(node)
        node.done.set()

    async def _done_or_left_out(self, node: Node) -> None:
        if any(self.of[name].output is None for name in node.subtask.depends_on):
            node.outcome = Outcome(reason=NotAcceptable.reason, message="what it needs could not be done")
            await self._say(node, f"left_out/{node.revision}", SubtaskState.SKIPPED)
        else:
            await self._done_by(node, node.subtask.model, None)

    async def _done_by(self, node: Node, model: str, refused: Refused | None) -> None:
        """Do *node* until there is an output, a failure, or somebody who leaves it out."""
        while True:
            outcome = await self._once(node, model, refused)
            if not outcome.parked or self._plan.merge is Merge.EACH:
                break
            resolution = await self._park(node, outcome)
            if resolution.verb is Verb.SKIP:
                node.is_skipped = True
                await self._say(node, f"skipped/{node.parks}", SubtaskState.SKIPPED)
                return
            if resolution.verb is Verb.SUPPLY:
                outcome = Outcome(text=resolution.output)
                break
            model = "" if resolution.verb is Verb.RETRY_ON_ORCHESTRATOR else model
        node.outcome = outcome
        if outcome.is_good:
            await self._say(node, f"done/{node.revision}/{node.parks}", SubtaskState.DONE)
            return
        await self._say(node, f"failed/{node.revision}", SubtaskState.FAILED)
        if not self._kept.work.partial and refused is None:
            raise from_reason(outcome.reason, f"subtask {node.subtask.id}: {outcome.message}")

    async def _once(self, node: Node, model: str, refused: Refused | None) -> Outcome:
        if node.revision >= REVISIONS_MAX:
            return Outcome(reason=NotAcceptable.reason, message=f"it was done over {REVISIONS_MAX} times")
        step, number = node.steps[node.revision], node.revision
        node.revision += 1
        async with self._places:
            await self._say(node, f"ready/{number}", SubtaskState.READY)
            job = self._job(node, model, refused, number)
            outcome = await self._doer.outcome(await step.run(partial(self._doer.do, job)))
        node.spent += self._ledger.spend(outcome.tokens, by_orchestrator=outcome.by_orchestrator)
        return outcome

    async def _park(self, node: Node, outcome: Outcome) -> Resolution:
        node.parks += 1
        name, problem = node.subtask.id, Problem(outcome.reason, outcome.message)
        node.outcome = outcome
        await self._say(node, parked_key(name, node.parks), SubtaskState.PARKED)
        self._parked += 1
        await self._ledger.stands(f"parked/{name}/{node.parks}", DelegationState.PARKED, problem=problem)
        resolution = await patiently(
            partial(self._desk.journal.resolution, self._ledger.delegation, name, node.parks)
        )
        self._parked -= 1
        if resolution.verb is Verb.ABORT:
            raise Aborted
        if not self._parked:
            await self._ledger.stands(f"resumed/{name}/{node.parks}", DelegationState.RUNNING)
        return resolution

    def _job(self, node: Node, model: str, refused: Refused | None, number: int) -> Job:
        subtask = node.subtask
        sources, results = self.sources(subtask), self.results(subtask)

        def prompt(family: Family, refused: Refused | None) -> str:
            instruction, rest = prompts.filled(subtask.instruction, results)
            if refused is not None:
                return family.repair(instruction, (*sources, *rest), refused.output, refused.reason)
            if self.is_solo:
                return family.solo(instruction, (*sources, *rest))
            return family.work(instruction, (*sources, *rest))

        return Job(
            key=f"{self._ledger.delegation}/{subtask.id}/{number}",
            model=model,
            prompt=prompt,
            fault=partial(_fault, subtask.checks, sources, results),
            started=partial(self._started, node, number),
            progressed=partial(self._ledger.progress, subtask.id),
            in_doubt=partial(self._in_doubt, node, number),
            format=subtask.format,
            max_output_tokens=subtask.max_output_tokens,
            attempts_max=subtask.attempts_max,
            timeout_s=subtask.timeout_s,
            side_effect=subtask.side_effect,
            priority=self._kept.work.priority,
            request=subtask.request,
            refused=refused,
            last=_last(self._kept, subtask.id, number),
            was_begun=_stood(self._kept, subtask.id, number, _BEGUN) is not None,
            may_replace=self.is_chosen_by_hub,
        )

    async def _started(self, node: Node, number: int, spoke: SpokeId, name: str, tries: int) -> None:
        status = SubtaskStatus(
            node.subtask.id,
            SubtaskState.RUNNING,
            attempt=tries + 1,
            spoke=spoke,
            model=name,
            spent=node.spent,
        )
        await self._ledger.happened(
            f"{node.subtask.id}/running/{number}/{self._kept.epoch}/{tries}/{spoke}", status
        )

    async def _in_doubt(self, node: Node, number: int, spoke: SpokeId, tries: int) -> None:
        status = SubtaskStatus(
            node.subtask.id, SubtaskState.IN_DOUBT, attempt=tries + 1, spoke=spoke, spent=node.spent
        )
        await self._ledger.happened(
            f"{node.subtask.id}/in_doubt/{number}/{self._kept.epoch}/{tries}/{spoke}", status
        )

    async def _say(self, node: Node, key: str, state: SubtaskState) -> None:
        outcome = node.outcome or Outcome()
        problem = None if outcome.is_good else Problem(outcome.reason, outcome.message)
        status = SubtaskStatus(
            id=node.subtask.id,
            state=state,
            attempt=outcome.tries,
            spoke=outcome.spoke,
            model=outcome.model,
            output=outcome.text,
            problem=problem,
            spent=node.spent,
            finish=outcome.finish,
        )
        name = key if key.startswith(f"{node.subtask.id}/") else f"{node.subtask.id}/{key}"
        await self._ledger.happened(name, status)


def _fault(wanted: Sequence[Check], sources: Sequence[Source], results: Mapping[str, str], text: str) -> str:
    return checks.fault(wanted, text, [*(source.text for source in sources), *results.values()])


_HAD: Final = frozenset({SubtaskState.RUNNING, SubtaskState.IN_DOUBT})
_BEGUN: Final = _HAD | {SubtaskState.READY}
"""Before a spoke is told anything, a subtask is READY; who has taken it is known a moment later."""


def _last(kept: Kept, name: SubtaskId, number: int) -> SpokeId | None:
    """Give the spoke that had a subtask when the hub went down."""
    found = _stood(kept, name, number, _HAD)
    return None if found is None else SpokeId(found.spoke)


def _stood(kept: Kept, name: SubtaskId, number: int, states: frozenset[SubtaskState]) -> SubtaskStatus | None:
    """Give how a subtask stood when the hub went down, if that was in one of *states*."""
    if kept.epoch == 1 or number > 0:
        return None
    return next((each for each in kept.info.subtasks if each.id == name and each.state in states), None)
