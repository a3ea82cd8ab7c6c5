"""Work that is handed over to the mesh, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NewType, TypeAlias

from hubspoke.types.requests import Priority

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from hubspoke.types.answers import FinishReason
    from hubspoke.types.requests import JsonFormat, Request

DelegationId = NewType("DelegationId", str)
SubtaskId = NewType("SubtaskId", str)


class DelegationState(StrEnum):
    """How a delegation stands."""

    ACCEPTED = "accepted"
    PLANNING = "planning"
    RUNNING = "running"
    REVIEWING = "reviewing"
    MERGING = "merging"
    PARKED = "parked"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED: Final = frozenset(
    {DelegationState.SUCCEEDED, DelegationState.PARTIAL, DelegationState.FAILED, DelegationState.CANCELLED}
)
"""States that nothing follows."""


class SubtaskState(StrEnum):
    """How a subtask stands."""

    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    IN_DOUBT = "in_doubt"
    DONE = "done"
    ACCEPTED = "accepted"
    REPAIRING = "repairing"
    PARKED = "parked"
    SKIPPED = "skipped"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Mode(StrEnum):
    """How a goal is done: by the orchestrator alone, on every piece of the inputs, or as subtasks."""

    AUTO = "auto"
    SOLO = "solo"
    MAP = "map"
    DAG = "dag"


class Review(StrEnum):
    """Whether the orchestrator looks at outputs; AUTO: at those of a goal, not at those of a plan that was given."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Merge(StrEnum):
    """What the outputs that no other subtask wants become; EACH: nothing, and one that cannot be had fails at once."""

    CONCAT = "concat"
    TABLE = "table"
    SUM = "sum"
    MODEL = "model"
    EACH = "each"


class SideEffect(StrEnum):
    """Whether a subtask may be done twice."""

    NONE = "none"
    IDEMPOTENT = "idempotent"
    NON_IDEMPOTENT = "non_idempotent"


class Check(StrEnum):
    """What an output has to be beside its format."""

    QUOTE = "quote"
    ARITHMETIC = "arithmetic"
    FOUND = "found"


class VerdictKind(StrEnum):
    """What becomes of an output that was reviewed."""

    ACCEPT = "accept"
    REPAIR = "repair"
    REDO = "redo"


class Verb(StrEnum):
    """What becomes of what is parked."""

    RETRY = "retry"
    RETRY_ON_ORCHESTRATOR = "retry_on_orchestrator"
    SKIP = "skip"
    SUPPLY = "supply"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class Input:
    """A text to work on."""

    name: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Some of an input, from byte *begin* to byte *end*; 0 is the end of the input."""

    input: str
    begin: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Goal:
    """Something to reach; the result is text when *format* is `None`."""

    text: str
    format: JsonFormat | None = None
    mode: Mode = Mode.AUTO


@dataclass(frozen=True, slots=True)
class Subtask:
    """One step for one model, or for the orchestrator when *model* is empty.

    `{id}` in the instruction stands for the output of a subtask that it depends on. 0 output tokens means no limit; no
    *timeout_s* means as long as the delegation has. A *request* is asked as it is; the instruction is its title then.
    """

    id: SubtaskId
    instruction: str
    depends_on: tuple[SubtaskId, ...] = ()
    reads: tuple[Excerpt, ...] = ()
    model: str = ""
    format: JsonFormat | None = None
    max_output_tokens: int = 0
    checks: tuple[Check, ...] = ()
    side_effect: SideEffect = SideEffect.NONE
    attempts_max: int = 3
    timeout_s: float | None = None
    task: str = ""
    request: Request | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """Subtasks, and what their outputs become; the instruction is for `Merge.MODEL`."""

    subtasks: tuple[Subtask, ...]
    merge: Merge = Merge.CONCAT
    merge_instruction: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a delegation may take; `None` is no limit, and a day for the deadline. Those in one *lane* share parallel_max."""

    deadline: datetime | None = None
    orchestrator_tokens_max: int | None = None
    worker_tokens_max: int | None = None
    review_rounds_max: int = 2
    parallel_max: int = 32
    lane: str = ""


@dataclass(frozen=True, slots=True)
class Work:
    """What is handed over. The same *request_id* with the same content is the same work."""

    request_id: str
    task: Goal | Plan
    inputs: tuple[Input, ...] = ()
    limits: Limits = Limits()
    partial: bool = False
    review: Review = Review.AUTO
    priority: Priority = Priority.BATCH
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Problem:
    """What was in the way, by the stable reason of an error and in a sentence."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens that were read and written."""

    orchestrator_tokens: int = 0
    worker_tokens: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.orchestrator_tokens + other.orchestrator_tokens, self.worker_tokens + other.worker_tokens
        )


@dataclass(frozen=True, slots=True)
class SubtaskStatus:
    """How a subtask stands; spoke and model are empty until it has one, *finish* is `None` unless a model ended its output."""

    id: SubtaskId
    state: SubtaskState
    title: str = ""
    depends_on: tuple[SubtaskId, ...] = ()
    attempt: int = 0
    spoke: str = ""
    model: str = ""
    output: str = ""
    problem: Problem | None = None
    spent: Spent = Spent()
    finish: FinishReason | None = None


@dataclass(frozen=True, slots=True)
class DelegationInfo:
    """How a delegation stands. Lists leave out subtasks and result; *mode* is AUTO until it is decided."""

    id: DelegationId
    state: DelegationState
    owner: str
    request_id: str
    title: str
    accepted_at: datetime
    deadline: datetime
    mode: Mode = Mode.AUTO
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    priority: Priority = Priority.BATCH
    ended_at: datetime | None = None
    last_seq: int = 0
    subtasks: tuple[SubtaskStatus, ...] = ()
    result: str = ""
    problem: Problem | None = None
    spent: Spent = Spent()

    @property
    def has_ended(self) -> bool:
        """Whether nothing follows."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class StateChanged:
    """A delegation stands otherwise now."""

    state: DelegationState
    result: str = ""
    problem: Problem | None = None
    spent: Spent = Spent()


@dataclass(frozen=True, slots=True)
class Planned:
    """A delegation has been taken apart, and *why* this way."""

    mode: Mode
    subtasks: tuple[SubtaskStatus, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the orchestrator says of an output."""

    subtask: SubtaskId
    kind: VerdictKind
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """The orchestrator has looked at outputs, for the time number *round*."""

    round: int
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """Tokens are being written on *spoke*; of no subtask while the orchestrator plans, reviews or merges."""

    subtask: SubtaskId | None
    spoke: str
    output_tokens: int


Happening: TypeAlias = StateChanged | Planned | SubtaskStatus | Reviewed | Progress
"""What can happen to a delegation."""


@dataclass(frozen=True, slots=True)
class DelegationEvent:
    """What happened, in its turn. *seq* counts from 1 without a gap; it is 0 for `Progress`, which is not kept."""

    seq: int
    at: datetime
    happening: Happening
