"""One piece of work, over as many tries as it takes: a subtask, or a step of the orchestrator."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from hub.core.delegation import families
from hub.delegations.asking import Question
from hub.journal.patience import patiently
from hubspoke.errors import (
    CapacityError,
    DeadlineExceeded,
    Draining,
    EngineCrashed,
    EngineOverloaded,
    InvalidOutput,
    MeshError,
    ModelNotLoaded,
    NotAcceptable,
    Poisonous,
    SlotTaken,
    SpokeError,
    SpokeLost,
    TaskConflict,
    UnknownModel,
)
from hubspoke.types import FinishReason, Priority, SideEffect, SpokeId, TaskKey

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hub.core.delegation.prompts import Family
    from hub.delegations.asking import Told
    from hub.delegations.desk import Desk
    from hub.delegations.ledger import Ledger
    from hubspoke.types import JsonFormat, Request

log = logging.getLogger(__name__)

WAIT_S: Final = 1.0
"""How long is waited before a mesh that cannot take it now is asked again."""

LOST_MAX: Final = 2
"""Spokes that may go down with a piece of work before a person has to look at it."""

KEPT_INLINE_BYTES: Final = 64 * 1024
"""Longer texts are kept by their digest, beside the steps."""

HELPLESS_S: Final = 30.0
"""How long a model that the hub chose may be away before the orchestrator does its work."""

_BUSY: Final = (CapacityError, EngineOverloaded, UnknownModel, Draining, SlotTaken, ModelNotLoaded)
_GONE: Final = (SpokeLost, EngineCrashed)
_BAD: Final = (InvalidOutput, NotAcceptable, TaskConflict)


class Outcome(msgspec.Struct, frozen=True):
    """What came of a piece of work: an output, or what was in the way. It is kept as a step's result."""

    text: str = ""
    digest: str = ""
    spoke: str = ""
    model: str = ""
    model_key: str = ""
    tokens: int = 0
    by_orchestrator: bool = False
    tries: int = 0
    key: str = ""
    reason: str = ""
    message: str = ""
    parked: bool = False
    refused: tuple[tuple[str, str], ...] = ()
    """Tasks that were done for nothing, each with its spoke."""
    finish: FinishReason | None = None
    """`None` where it was kept before this was."""

    @property
    def is_good(self) -> bool:
        """Whether there is an output."""
        return not self.reason


@dataclass(frozen=True, slots=True)
class Refused:
    """An output that was not good enough, and why."""

    output: str
    reason: str


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work. *model* is empty for the orchestrator; *fault* says what is wrong with an output, "" for nothing.

    A *request* is asked instead of the prompt. *last* had it when the hub went down; *may_replace*: the orchestrator may do it when the model stays away.
    """

    key: str
    model: str
    prompt: Callable[[Family, Refused | None], str]
    fault: Callable[[str], str]
    started: Callable[[SpokeId, str, int], Awaitable[None]]
    progressed: Callable[[SpokeId, int], None]
    in_doubt: Callable[[SpokeId, int], Awaitable[None]]
    format: JsonFormat | None = None
    max_output_tokens: int = 0
    attempts_max: int = 3
    timeout_s: float | None = None
    side_effect: SideEffect = SideEffect.NONE
    priority: Priority = Priority.BATCH
    request: Request | None = None
    refused: Refused | None = None
    last: SpokeId | None = None
    was_begun: bool = False
    """Whether it was to be given to a spoke before the hub went down, to whichever."""
    may_replace: bool = False


@dataclass(slots=True)
class _State:
    """How far the tries have come."""

    model: str
    refused: Refused | None
    tries: int = 0
    bad: int = 0
    last: SpokeId | None = None
    lost: set[SpokeId] = field(default_factory=set)
    excluded: set[SpokeId] = field(default_factory=set)
    away_since: float | None = None
    refusals: list[tuple[str, str]] = field(default_factory=list)
    was_held: bool = False
    """Whether the answer that was refused last was one of before the hub went down: so may the next one be."""


class Doer:
    """Does the work of one delegation. *epoch* is larger than that of whoever had it before."""

    def __init__(self, desk: Desk, ledger: Ledger, epoch: int) -> None:
        self._desk = desk
        self._ledger = ledger
        self._epoch = epoch
        self._since = desk.clock.monotonic()

    async def do(self, job: Job) -> str:
        """Do *job*, and give its `Outcome` encoded, whatever it is."""
        outcome = await self._tries(job)
        if len(outcome.text.encode()) > KEPT_INLINE_BYTES:
            keep = partial(self._desk.journal.keep_text, self._ledger.delegation, outcome.text)
            digest = await patiently(keep)
            outcome = msgspec.structs.replace(outcome, text="", digest=digest)
        return msgspec.json.encode(outcome).decode()

    async def outcome(self, encoded: str) -> Outcome:
        """Read what `do` gave, now or before the hub went down; let the spoke forget it."""
        outcome = msgspec.json.decode(encoded, type=Outcome)
        if outcome.digest:
            read = partial(self._desk.journal.text, self._ledger.delegation, outcome.digest)
            outcome = msgspec.structs.replace(outcome, text=await patiently(read))
        if outcome.spoke:
            self._desk.settling.settle(TaskKey(outcome.key), outcome.spoke)
        for key, spoke in outcome.refused:
            self._desk.settling.settle(TaskKey(key), spoke)
        await self._ledger.prove()
        return outcome

    async def _tries(self, job: Job) -> Outcome:
        state = _State(job.model, job.refused, last=job.last)
        while True:
            try:
                return await self._try(job, state)
            except MeshError as error:
                if isinstance(error, _BUSY):
                    self._stay_away(job, state)
                    await asyncio.sleep(WAIT_S)
                elif (outcome := _learnt(job, state, error)) is not None:
                    return outcome

    async def _try(self, job: Job, state: _State) -> Outcome:
        key = TaskKey(f"{job.key}.{state.bad}")
        only = await self._holder(job, state, key)
        self._ledger.check_budget(of_orchestrator=not state.model)
        model = self._desk.model(state.model)
        family = families.family_in(self._desk.sessions.registry, model)
        question = Question(
            key=key,
            epoch=self._epoch,
            model=model,
            prompt=job.prompt(family, state.refused),
            format=job.format,
            max_output_tokens=job.max_output_tokens,
            priority=job.priority,
            timeout_s=job.timeout_s,
            request=job.request,
            only=only,
            excluded=frozenset(state.excluded - {only}),
        )
        told = await self._desk.asker.ask(
            question, _Hearer(job, state, partial(self._desk.settling.given, key))
        )
        fault = job.fault(told.text)
        if fault:
            state.refused = Refused(told.text, fault)
            # Not settled yet: should the hub go down now, the answer is refused again instead of made again.
            state.refusals.append((key, told.spoke))
            raise NotAcceptable(f"the answer was refused: {fault}")
        return _good(told, state, key)

    async def _holder(self, job: Job, state: _State, key: TaskKey) -> SpokeId | None:
        """Give the spoke that has the work already; raise Poisonous where nobody may guess whether it was done."""
        is_first = state.tries == 0 and state.away_since is None
        if state.last is None and not (self._epoch > 1 and (is_first or state.was_held)):
            return None
        if state.last is not None:
            await job.in_doubt(state.last, state.tries)
        found = await self._desk.asker.look(key, state.last, self._since)
        may_be_done = state.last is not None or (job.was_begun and is_first)
        if found.holder is None and may_be_done and job.side_effect is SideEffect.NON_IDEMPOTENT:
            asked = "the spokes do" if state.last is None else f"{state.last} does"
            raise Poisonous(f"{asked} not say whether this has been done, and it must not be done twice")
        state.was_held = found.holder is not None
        return found.holder

    def _stay_away(self, job: Job, state: _State) -> None:
        """Note that nobody can take it now: spokes that failed get another chance, and then the orchestrator."""
        now = self._desk.clock.monotonic()
        state.excluded.clear()
        state.away_since = now if state.away_since is None else state.away_since
        if job.may_replace and state.model and now - state.away_since >= HELPLESS_S:
            log.info("orchestrator stands in", extra={"delegation": self._ledger.delegation})
            state.model, state.away_since = "", None


class _Hearer:
    """Hears how a try comes along."""

    def __init__(self, job: Job, state: _State, given: Callable[[SpokeId], None]) -> None:
        self._job = job
        self._state = state
        self._given = given

    def given(self, spoke: SpokeId) -> None:
        """Note who has it."""
        self._state.last = spoke
        self._state.away_since = None
        self._given(spoke)

    async def started(self, spoke: SpokeId, model: str) -> None:
        """Have it written who has it."""
        await self._job.started(spoke, model, self._state.tries)

    def progressed(self, spoke: SpokeId, tokens: int) -> None:
        """Pass on how far it has come."""
        self._job.progressed(spoke, tokens)


def _learnt(job: Job, state: _State, error: MeshError) -> Outcome | None:
    """Learn from a try that failed; give what came of the work when there is to be no other."""
    state.tries += 1
    spoke = state.last
    if isinstance(error, Poisonous):
        return _outcome(error, state, parked=True)
    if spoke is not None:
        state.excluded.add(spoke)
    if isinstance(error, _GONE):
        state.lost |= set() if spoke is None else {spoke}
        if len(state.lost) >= LOST_MAX:
            return _outcome(
                Poisonous(f"{' and '.join(sorted(state.lost))} went down with it"), state, parked=True
            )
    elif job.side_effect is SideEffect.NON_IDEMPOTENT:
        return _outcome(error, state, parked=isinstance(error, SpokeError))
    elif isinstance(error, _BAD):
        # Another key: whoever keeps the answer would only give it again.
        state.bad, state.last = state.bad + 1, None
    elif isinstance(error, SpokeError | DeadlineExceeded):
        state.last = None
    else:
        return _outcome(error, state)
    return _outcome(error, state) if state.tries >= job.attempts_max else None


def _good(told: Told, state: _State, key: TaskKey) -> Outcome:
    return Outcome(
        text=told.text,
        spoke=told.spoke,
        model=told.model,
        model_key=told.model_key,
        tokens=told.tokens,
        by_orchestrator=not state.model,
        tries=state.tries + 1,
        key=key,
        refused=tuple(state.refusals),
        finish=told.finish,
    )


def _outcome(error: MeshError, state: _State, *, parked: bool = False) -> Outcome:
    return Outcome(
        tries=state.tries,
        reason=error.reason,
        message=error.message,
        parked=parked,
        refused=tuple(state.refusals),
    )
