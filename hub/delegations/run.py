"""One delegation from its beginning to its end, however often it has to begin again."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from hub.core.delegation import graph, merges, plans, review
from hub.core.delegation.merges import Output
from hub.core.delegation.prompts import Answered
from hub.delegations.doing import Doer
from hub.delegations.ledger import Ledger, problem_of
from hub.delegations.nodes import Aborted, Nodes
from hub.delegations.orchestrating import Orchestrator, Planned
from hub.delegations.reviewing import Reviewing
from hub.journal.patience import patiently
from hub.journal.rows import Over, Taken, parked_key
from hubspoke import types
from hubspoke.errors import (
    Cancelled,
    DeadlineExceeded,
    InternalError,
    MeshError,
    Poisonous,
    RequestTooLarge,
    from_reason,
)
from hubspoke.types import (
    DelegationState,
    Goal,
    Merge,
    Mode,
    Review,
    SubtaskId,
    Verb,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hub.delegations.desk import Desk
    from hub.delegations.nodes import Node
    from hub.journal.journal import Steps
    from hub.journal.rows import Kept
    from hubspoke.types import DelegationId, Plan

STARTS_MAX: Final = 4
"""How often a delegation is begun of which nothing comes before a person has to look at it."""

RESULT_BYTES_MAX: Final = 6 * 1024 * 1024
"""It has to fit into a message."""


async def run(desk: Desk, delegation: DelegationId, steps: Steps) -> None:
    """Run a delegation to its end; raise Taken for one that is another hub's. Called again after a crash, it goes on where it was."""
    kept = await patiently(partial(desk.journal.begin, delegation))
    if kept.info.has_ended:
        return
    one = Run(desk, kept, steps)
    left_s = (kept.info.deadline - desk.clock.now()).total_seconds()
    try:
        await one.beware()
        async with asyncio.timeout(max(left_s, 0)):
            await one.go()
    except Over:
        return
    except Aborted:
        await one.end_early(Cancelled("it was ended while it was parked"), is_final=True)
    except TimeoutError:
        await one.end_early(DeadlineExceeded("the deadline passed before the result was complete"))
    except MeshError as error:
        await one.end_early(error)
    except Taken:
        raise
    except Exception:
        await one.end_early(InternalError("a defect of ours; the hub's log says more"), is_final=True)
        raise
    finally:
        desk.settling.is_over(delegation)


class Run:
    """What is done for one delegation. Its steps are reserved in the same order whenever it begins."""

    def __init__(self, desk: Desk, kept: Kept, steps: Steps) -> None:
        self._desk = desk
        self._kept = kept
        self._work = kept.work
        self._steps = steps
        self._ledger = Ledger(kept, desk.journal)
        self._doer = Doer(desk, self._ledger, kept.epoch)
        self._orchestrator = Orchestrator(desk, self._ledger, self._doer, kept)
        self._plan_step = steps.reserve("plan")
        self._review_steps = [steps.reserve(f"review/{number + 1}") for number in range(review.ROUNDS_MAX)]
        self._merge_step = steps.reserve("merge")
        self._nodes: Nodes | None = None

    async def beware(self) -> None:
        """Wait for a person when the hub has gone down with this again and again."""
        delegation, starts = self._ledger.delegation, self._kept.starts
        number, is_parked = await patiently(partial(self._desk.journal.parks, delegation))
        if starts > STARTS_MAX and not is_parked:
            number += 1
            problem = problem_of(Poisonous(f"it was begun {starts} times, and nothing came of it"))
            await self._ledger.stands(parked_key(None, number), DelegationState.PARKED, problem=problem)
        if number == 0:
            return
        resolution = await patiently(partial(self._desk.journal.resolution, delegation, None, number))
        if resolution.verb is Verb.ABORT:
            raise Aborted
        await self._ledger.stands(f"resumed/{number}", DelegationState.ACCEPTED)

    async def go(self) -> None:
        """Take it apart, do the parts, look at them, and put them together."""
        planned = await self._planned()
        nodes = Nodes(self._desk, self._ledger, self._doer, self._kept, plan=planned.plan, steps=self._steps)
        nodes.is_chosen_by_hub = isinstance(self._work.task, Goal)
        nodes.is_solo = nodes.is_chosen_by_hub and planned.mode is Mode.SOLO
        self._nodes = nodes
        await self._ledger.happened("planned", types.Planned(planned.mode, nodes.statuses(), planned.why))
        await self._ledger.stands("running", DelegationState.RUNNING)
        await nodes.do_all()
        if self._is_reviewed(planned.mode):
            reviewing = Reviewing(
                self._orchestrator,
                self._ledger,
                nodes,
                goal=self._goal(),
                steps=self._review_steps[: self._work.limits.review_rounds_max],
            )
            await reviewing.go()
        await self._ledger.stands("merging", DelegationState.MERGING)
        result = await self._merged(nodes, planned.plan)
        if len(result.encode()) > RESULT_BYTES_MAX:
            raise RequestTooLarge(f"the result has more than {RESULT_BYTES_MAX} bytes; ask for less at once")
        missing = [name for name, node in nodes.of.items() if node.output is None]
        await self._end(result, missing)

    async def end_early(self, error: MeshError, *, is_final: bool = False) -> None:
        """End with what there is, if that is wanted, or else as failed."""
        outputs = [] if self._nodes is None else _outputs(self._nodes.of.values())
        try:
            if self._work.partial and outputs and not is_final:
                result = "" if self._is_each() else merges.merged(Merge.CONCAT, outputs)
                await self._ledger.stands(
                    "ended", DelegationState.PARTIAL, problem=problem_of(error), result=result
                )
            else:
                await self._ledger.stands("ended", DelegationState.FAILED, problem=problem_of(error))
        except Over:
            return  # somebody has cancelled it meanwhile

    def _is_each(self) -> bool:
        return not isinstance(self._work.task, Goal) and self._work.task.merge is Merge.EACH

    async def _planned(self) -> Planned:
        task = self._work.task
        if not isinstance(task, Goal):
            return Planned(Mode.DAG, "the plan was given", task)
        await self._ledger.stands("planning", DelegationState.PLANNING)
        encoded = await self._plan_step.run(partial(self._orchestrator.plan, task))
        planned = self._orchestrator.planned(encoded)
        self._ledger.spend(planned.tokens, by_orchestrator=True)
        return planned

    def _is_reviewed(self, mode: Mode) -> bool:
        if self._work.review is not Review.AUTO:
            return self._work.review is Review.ALWAYS
        return isinstance(self._work.task, Goal) and mode is not Mode.SOLO

    async def _merged(self, nodes: Nodes, plan: Plan) -> str:
        ends = [nodes.of[SubtaskId(name)] for name in graph.ends(plans.graph_of(plan))]
        outputs = _outputs(ends)
        if plan.merge is not Merge.MODEL or not outputs:
            return merges.merged(plan.merge if plan.merge is not Merge.MODEL else Merge.CONCAT, outputs)
        answered = [
            Answered(node.subtask.id, node.subtask.instruction, node.output)
            for node in ends
            if node.output is not None
        ]
        task = self._work.task
        wanted = task.format if isinstance(task, Goal) else None
        instruction = task.text if isinstance(task, Goal) else plan.merge_instruction
        encoded = await self._merge_step.run(partial(self._orchestrator.merge, instruction, answered, wanted))
        outcome = await self._doer.outcome(encoded)
        self._ledger.spend(outcome.tokens, by_orchestrator=True)
        if not outcome.is_good:
            raise from_reason(outcome.reason, outcome.message)
        return outcome.text

    async def _end(self, result: str, missing: Sequence[str]) -> None:
        if not missing:
            await self._ledger.stands("ended", DelegationState.SUCCEEDED, result=result)
            return
        problem = types.Problem("not_acceptable", f"these could not be done: {', '.join(missing)[:500]}")
        await self._ledger.stands("ended", DelegationState.PARTIAL, result=result, problem=problem)

    def _goal(self) -> str:
        task = self._work.task
        return task.text if isinstance(task, Goal) else task.merge_instruction or self._kept.info.title


def _outputs(nodes: Iterable[Node]) -> list[Output]:
    return [Output(node.subtask.id, node.output) for node in nodes if node.output is not None]
