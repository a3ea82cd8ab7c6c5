"""How far a batch has come, put together from the events of its delegations."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from hubspoke.errors import Cancelled, RequestTooLarge
from hubspoke.types import ENDED, Problem, StateChanged, SubtaskState, SubtaskStatus
from hubspoke.wire.delegations import OUTPUT_SHOWN_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hubspoke.types import DelegationEvent, DelegationId, DelegationInfo, FinishReason, SubtaskId

RATE_LINES: Final = 256
"""The rate is that of so many lines, the latest: how fast it was an hour ago says little."""

_DIGEST: Final = re.compile(r"\n\[sha256:[0-9a-f]{64}\]\Z")
_DIGEST_BYTES: Final = 74
_GOOD: Final = frozenset({SubtaskState.DONE, SubtaskState.ACCEPTED})
_BAD: Final = frozenset({SubtaskState.FAILED, SubtaskState.SKIPPED, SubtaskState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a line: an output, or a problem. *task* tells it from every other that was ever done.

    *finish* is `None` for outputs of a hub that did not keep it.
    """

    id: str
    task: str
    output: str = field(default="", repr=False)
    model: str = ""
    spoke: str = ""
    tokens: int = 0
    problem: Problem | None = None
    finish: FinishReason | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """How far a batch has come. *rate* is lines a second; *left_s* `None` where nobody can say."""

    total: int
    done: int = 0
    failed: int = 0
    running: int = 0
    tokens: int = 0
    rate: float = 0.0
    left_s: float | None = None


class Chunk:
    """One delegation of a batch, with its lines by subtask. Events go in, in their order; the lines that they end come out."""

    def __init__(self, delegation: DelegationId, ids: Mapping[SubtaskId, str]) -> None:
        self._delegation = delegation
        self._ids = ids
        self._open = set(ids)
        self.running: set[SubtaskId] = set()
        self.long: set[str] = set()
        """Ids of lines whose outputs are too long for events: they are looked up at the end."""

    def after(self, event: DelegationEvent) -> tuple[Ended, ...]:
        """Take *event* in, and give the lines that ended with it."""
        match event.happening:
            case SubtaskStatus(state=SubtaskState.RUNNING) as status:
                self.running.add(status.id)
            case SubtaskStatus() as status if status.id in self._open:
                return tuple(self._ended(status))
            case StateChanged(state=state, problem=problem) if state in ENDED:
                problem = problem or Problem(Cancelled.reason, "the batch was ended before it")
                left, self._open = sorted(self._open), set()
                self.running.clear()
                return tuple(
                    Ended(self._ids[name], f"{self._delegation}/{name}", problem=problem) for name in left
                )
            case _:
                pass
        return ()

    def _ended(self, status: SubtaskStatus) -> Iterator[Ended]:
        if status.state not in _GOOD | _BAD:
            return
        self._open.discard(status.id)
        self.running.discard(status.id)
        ended = _of(self._ids[status.id], self._delegation, status)
        if _is_cut(status.output):
            self.long.add(ended.id)
        yield ended


class Counted:
    """Counts the lines of a batch as they end."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = self._failed = self._tokens = 0
        self._latest: deque[datetime] = deque(maxlen=RATE_LINES)

    def add(self, ended: Iterable[Ended], at: datetime) -> None:
        """Count lines that ended at a moment of the hub's clock."""
        for one in ended:
            self._done += one.problem is None
            self._failed += one.problem is not None
            self._tokens += one.tokens
            self._latest.append(at)

    def tally(self, running: int) -> Tally:
        """Say how far it has come."""
        span = (
            (max(self._latest) - min(self._latest)) / timedelta(seconds=1) if len(self._latest) > 1 else 0.0
        )
        rate = (len(self._latest) - 1) / span if span > 0 else 0.0
        left = self._total - self._done - self._failed
        left_s = left / rate if rate else (None if left else 0.0)
        return Tally(self._total, self._done, self._failed, running, self._tokens, rate, left_s)


def tally_of(total: int, chunks: Iterable[DelegationInfo]) -> Tally:
    """Say how far a batch is that nobody watched: no rate is known then."""
    counted, running = Counted(total), 0
    for info in chunks:
        counted.add(ended_of(info), info.accepted_at)
        running += sum(status.state is SubtaskState.RUNNING for status in info.subtasks)
    return replace(counted.tally(running), rate=0.0, left_s=None)


def ended_of(info: DelegationInfo) -> Iterator[Ended]:
    """Give the lines of a delegation that have ended, with whole outputs."""
    for status in info.subtasks:
        if status.state not in _GOOD | _BAD:
            continue
        ended = _of(status.title, info.id, status)
        if _is_cut(status.output):
            problem = Problem(
                RequestTooLarge.reason,
                "the outputs of its delegation are too long together; lower max_tokens",
            )
            ended = Ended(ended.id, ended.task, tokens=ended.tokens, problem=problem)
        elif ended.problem is not None and info.problem is not None and status.problem is None:
            ended = Ended(ended.id, ended.task, tokens=ended.tokens, problem=info.problem)
        yield ended


def _of(title: str, delegation: DelegationId, status: SubtaskStatus) -> Ended:
    problem = None
    if status.state in _BAD:
        problem = status.problem or Problem(Cancelled.reason, "the batch was ended before it")
    return Ended(
        id=title,
        task=f"{delegation}/{status.id}",
        output=status.output,
        model=status.model,
        spoke=status.spoke,
        tokens=status.spent.orchestrator_tokens + status.spent.worker_tokens,
        problem=problem,
        finish=status.finish,
    )


def _is_cut(output: str) -> bool:
    """Whether this is the beginning of an output, with the digest of the whole."""
    is_long = OUTPUT_SHOWN_BYTES < len(output.encode()) <= OUTPUT_SHOWN_BYTES + _DIGEST_BYTES
    return is_long and _DIGEST.search(output) is not None
