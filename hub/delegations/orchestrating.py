"""What the orchestrator does for a delegation: it makes the plan, looks at what was done, and writes the result."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from hub.core import catalogue
from hub.core.delegation import accepts, approach, families, fleet, gate, plans, review
from hub.core.delegation.prompts import PlanAsk, Source
from hub.delegations.asking import LOOKED_S
from hub.delegations.doing import Job, Outcome
from hubspoke.errors import InvalidOutput, InvalidRequest, NoOrchestrator
from hubspoke.types import Goal, JsonFormat, Mode, ModelKey, Plan, Subtask, SubtaskId
from hubspoke.wire import delegations as wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from hub.core.delegation.fleet import Candidate
    from hub.core.delegation.gate import Choice
    from hub.core.delegation.prompts import Answered, Family
    from hub.delegations.desk import Desk
    from hub.delegations.doing import Doer, Refused
    from hub.delegations.ledger import Ledger
    from hub.journal.rows import Kept
    from hubspoke.types import SpokeId, Verdict

    _Prompt: TypeAlias = Callable[[Family, Refused | None], str]
    _Fault: TypeAlias = Callable[[str], str]

PLANS_MAX: Final = 2
"""Plans that are asked for before the goal is done without one."""

AWAY_S: Final = 600.0
"""How long a goal waits for a model that may plan, before it fails for want of one."""

REVIEWS_MAX: Final = 2
"""How often a reviewer is asked that says nothing of use."""


class Planning(msgspec.Struct, frozen=True):
    """How a goal is done, as a step keeps it. The plan is a message of the contract."""

    mode: str
    why: str
    plan: str
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Planned:
    """How a goal is done."""

    mode: Mode
    why: str
    plan: Plan
    tokens: int = 0


class Orchestrator:
    """The orchestrator's part of one delegation."""

    def __init__(self, desk: Desk, ledger: Ledger, doer: Doer, kept: Kept) -> None:
        self._desk = desk
        self._ledger = ledger
        self._doer = doer
        self._work = kept.work
        self._sources = tuple(Source(each.name, each.text) for each in kept.work.inputs)

    async def plan(self, goal: Goal) -> str:
        """Decide how *goal* is done, and give that encoded."""
        big = await self._present()
        registry, now = self._desk.sessions.registry, self._desk.clock.monotonic()
        crew = fleet.fleet_of(registry, self._desk.sessions.traffic(), big, self._desk.accepts, now)
        if crew is None:
            return self._kept(
                Mode.SOLO,
                "the orchestrator is away; it does all of it",
                approach.alone(goal, self._work.inputs),
            )
        job = gate.job_of(goal, self._work.inputs, families.family_in(registry, big))
        choice = gate.choose(job, crew, goal.mode)
        plan = approach.by_rule(choice, job, goal, self._work.inputs, crew)
        if plan is not None:
            return self._kept(choice.mode, choice.why, plan)
        return await self._by_planner(goal, choice, big)

    async def _present(self) -> ModelKey:
        """Wait for a model that may plan: there was one when the work was accepted, and spokes find back to a new hub."""
        gives_up_at = self._desk.clock.monotonic() + AWAY_S
        while True:
            try:
                return self._desk.orchestrator()
            except NoOrchestrator:
                if self._desk.clock.monotonic() >= gives_up_at:
                    raise
            await asyncio.sleep(LOOKED_S)

    def planned(self, encoded: str) -> Planned:
        """Read what `plan` gave."""
        kept = msgspec.json.decode(encoded, type=Planning)
        message = wire.plan_from_bytes(base64.b64decode(kept.plan), self._work.inputs)
        return Planned(Mode(kept.mode), kept.why, message, kept.tokens)

    async def review(self, goal: str, number: int, answered: Sequence[Answered]) -> str:
        """Look at what was done, and give the outcomes of all looks, encoded one in each line."""
        outcomes = []
        for place, batch in enumerate(review.batches(answered)):
            asked = [SubtaskId(one.id) for one in batch]

            def fault(text: str, asked: Sequence[SubtaskId] = asked) -> str:
                return _fault(text, asked)

            def prompt(family: Family, _: Refused | None, batch: Sequence[Answered] = batch) -> str:
                return review.prompt(family, goal, batch)

            job = self._job(f"review-{number}-{place}", prompt, fault, JsonFormat(review.SCHEMA), REVIEWS_MAX)
            outcomes.append(await self._doer.do(job))
        return "\n".join(outcomes)

    async def reviewed(self, encoded: str, answered: Sequence[Answered]) -> tuple[Verdict, ...]:
        """Read what `review` gave; nothing is said of what the reviewer said nothing of use about."""
        found: list[Verdict] = []
        for line, batch in zip(encoded.split("\n"), review.batches(answered), strict=True):
            outcome = await self._doer.outcome(line)
            self._ledger.spend(outcome.tokens, by_orchestrator=True)
            if outcome.is_good:
                found += review.verdicts(outcome.text, [SubtaskId(one.id) for one in batch])
        return tuple(found)

    def learn(self, subtask: Subtask, model: str, *, accepted: bool) -> None:
        """Remember how well *model* did at that kind of task."""
        kind = accepts.Kind(ModelKey(model), subtask.task)
        now = self._desk.clock.monotonic()
        self._desk.accepts = accepts.reviewed(self._desk.accepts, kind, accepted=accepted, now=now)

    async def merge(self, instruction: str, answered: Sequence[Answered], wanted: JsonFormat | None) -> str:
        """Write the result, and give the outcome encoded."""

        def prompt(family: Family, _: Refused | None) -> str:
            if family.merge is None:
                return family.work(instruction, [Source(one.id, one.output) for one in answered])
            return family.merge(instruction, answered)

        return await self._doer.do(self._job("merge", prompt, _no_fault, wanted, 3))

    async def _by_planner(self, goal: Goal, choice: Choice, big: ModelKey) -> str:
        registry, now = self._desk.sessions.registry, self._desk.clock.monotonic()
        helpers = fleet.candidates(registry, big, now)
        model = next(holding.model for holding in catalogue.holdings(registry, big))
        names = {one.name for one in self._work.inputs}
        models = {one.model.name for one in helpers}

        def fault(text: str) -> str:
            try:
                plans.planned(text, inputs=names, models=models)
            except InvalidRequest as error:
                return error.message
            return ""

        def prompt(family: Family, refused: Refused | None) -> str:
            told = approach.described(helpers, model)
            return family.plan(
                PlanAsk(goal.text, self._sources, told, "" if refused is None else refused.reason)
            )

        job = self._job("plan", prompt, fault, JsonFormat(plans.SCHEMA), PLANS_MAX)
        outcome = await self._doer.outcome(await self._doer.do(job))
        if not outcome.is_good:
            why = f"no plan that could be used: {outcome.message}"
            return self._kept(Mode.SOLO, why, approach.alone(goal, self._work.inputs), outcome)
        plan = plans.planned(outcome.text, inputs=names, models=models)
        return self._kept(choice.mode, choice.why, self._routed(plan, helpers, big, now), outcome)

    def _routed(self, plan: Plan, helpers: Sequence[Candidate], big: ModelKey, now: float) -> Plan:
        holdings = catalogue.holdings(self._desk.sessions.registry, big)
        model = next((holding.model for holding in holdings), None)
        if model is None:
            return plan
        return approach.routed(plan, helpers, model, self._desk.accepts, now, inputs=self._work.inputs)

    def _kept(self, mode: Mode, why: str, plan: Plan, outcome: Outcome | None = None) -> str:
        encoded = base64.b64encode(wire.plan_to_wire(plan).SerializeToString()).decode()
        tokens = 0 if outcome is None else outcome.tokens
        return msgspec.json.encode(Planning(mode.value, why, encoded, tokens)).decode()

    def _job(
        self,
        name: str,
        prompt: _Prompt,
        fault: _Fault,
        wanted: JsonFormat | None,
        attempts_max: int,
    ) -> Job:
        async def started(spoke: SpokeId, name: str, tries: int) -> None:
            """Nobody is told: the state of the delegation says what the orchestrator does."""

        async def in_doubt(spoke: SpokeId, tries: int) -> None:
            """As `started`."""

        return Job(
            key=f"{self._ledger.delegation}/{name}/0",
            model="",
            prompt=prompt,
            fault=fault,
            started=started,
            progressed=lambda spoke, tokens: self._ledger.progress(None, spoke, tokens),
            in_doubt=in_doubt,
            format=wanted,
            attempts_max=attempts_max,
            priority=self._work.priority,
        )


def _fault(text: str, asked: Sequence[SubtaskId]) -> str:
    try:
        review.verdicts(text, asked)
    except InvalidOutput as error:
        return error.message
    return ""


def _no_fault(text: str) -> str:
    return "" if text.strip() else "the answer is empty"
