"""A delegation as it happens, put together from its events, and what there is to see of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from hubspoke.types import (
    DelegationState,
    Mode,
    Planned,
    Progress,
    Reviewed,
    Spent,
    StateChanged,
    SubtaskState,
    SubtaskStatus,
    VerdictKind,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hubspoke.types import DelegationEvent, DelegationInfo, SubtaskId, Verdict

MARKS: Final = {
    SubtaskState.WAITING: "·",
    SubtaskState.READY: "·",
    SubtaskState.RUNNING: "▸",
    SubtaskState.IN_DOUBT: "?",
    SubtaskState.DONE: "✓",
    SubtaskState.ACCEPTED: "✓",
    SubtaskState.REPAIRING: "↻",
    SubtaskState.PARKED: "‖",
    SubtaskState.SKIPPED: "-",
    SubtaskState.FAILED: "✗",
    SubtaskState.CANCELLED: "✗",
}
TITLE_CHARS_MAX: Final = 48
_NOTHING: Final = Spent()
_VERDICTS: Final = {VerdictKind.ACCEPT: "accepted", VerdictKind.REPAIR: "repair", VerdictKind.REDO: "redo"}
_ALONE: Final = {
    DelegationState.PLANNING: "plans",
    DelegationState.REVIEWING: "reviews",
    DelegationState.MERGING: "puts together",
}


@dataclass(frozen=True, slots=True)
class View:
    """How a delegation stands for whoever watches it. Events go in, in their order; a new view comes out."""

    state: DelegationState = DelegationState.ACCEPTED
    mode: Mode = Mode.AUTO
    why: str = ""
    subtasks: dict[SubtaskId, SubtaskStatus] = field(default_factory=dict)
    writing: dict[SubtaskId | None, Progress] = field(default_factory=dict)
    round: int = 0
    result: str = ""
    problem: str = ""
    spent: Spent = _NOTHING

    @classmethod
    def of(cls, info: DelegationInfo) -> View:
        """See what is told of a delegation that nobody watched."""
        return cls(
            state=info.state,
            mode=info.mode,
            subtasks={status.id: status for status in info.subtasks},
            result=info.result,
            problem=info.problem.message if info.problem else "",
            spent=info.spent,
        )

    def after(self, event: DelegationEvent) -> View:
        """Give the view after *event*."""
        match event.happening:
            case StateChanged() as change:
                writing: dict[SubtaskId | None, Progress] = dict(self.writing)
                writing.pop(None, None)
                problem = change.problem.message if change.problem else ""
                return replace(
                    self,
                    state=change.state,
                    result=change.result,
                    problem=problem,
                    spent=change.spent if change.spent != _NOTHING else self.spent,
                    writing=writing,
                )
            case Planned() as planned:
                subtasks = {status.id: status for status in planned.subtasks}
                return replace(self, mode=planned.mode, why=planned.why, subtasks=subtasks)
            case SubtaskStatus() as status:
                writing = dict(self.writing)
                writing.pop(status.id, None)
                return replace(self, subtasks={**self.subtasks, status.id: status}, writing=writing)
            case Reviewed() as reviewed:
                return replace(self, round=reviewed.round)
            case Progress() as progress:
                return replace(self, writing={**self.writing, progress.subtask: progress})

    @property
    def headline(self) -> str:
        """Say in a line how all of it stands."""
        done = sum(status.state in _OVER for status in self.subtasks.values())
        parts = [str(self.state), f"{done} of {len(self.subtasks)} subtasks" if self.subtasks else ""]
        own = self.writing.get(None)
        if own is not None and self.state in _ALONE:
            parts.append(f"{own.spoke} {_ALONE[self.state]}, {own.output_tokens} tokens so far")
        if self.round and self.state not in _AFTER_REVIEW:
            parts.append(f"review {self.round}")
        parts.append(tokens(self.spent))
        return ", ".join(part for part in parts if part)

    def rows(self) -> Iterator[tuple[SubtaskState, str]]:
        """Give a line for each subtask, with how it stands."""
        for status in self.subtasks.values():
            yield status.state, f"{MARKS[status.state]} {status.id}  {self._words(status)}"

    def _words(self, status: SubtaskStatus) -> str:
        parts = [short(status.title)]
        writing = self.writing.get(status.id)
        if status.state is SubtaskState.WAITING and status.depends_on:
            parts.append(f"waits for {', '.join(status.depends_on)}")
        if status.spoke:
            parts.append(f"{status.spoke} ({status.model})" if status.model else status.spoke)
        if writing is not None and status.state is SubtaskState.RUNNING:
            parts.append(f"{writing.output_tokens} tokens so far")
        if status.attempt > 1:
            parts.append(f"try {status.attempt}")
        if status.problem is not None:
            parts.append(status.problem.message)
        if status.state in _OVER:
            parts.append(tokens(status.spent))
        return "  ".join(part for part in parts if part)


_OVER: Final = frozenset(
    {
        SubtaskState.DONE,
        SubtaskState.ACCEPTED,
        SubtaskState.SKIPPED,
        SubtaskState.FAILED,
        SubtaskState.CANCELLED,
    }
)
_AFTER_REVIEW: Final = frozenset(
    {
        DelegationState.MERGING,
        DelegationState.SUCCEEDED,
        DelegationState.PARTIAL,
        DelegationState.FAILED,
        DelegationState.CANCELLED,
    }
)


def line_of(event: DelegationEvent) -> str:
    """Give an event as a line of a log; empty for what comes too often for one."""
    match event.happening:
        case StateChanged(state=state, problem=problem):
            return f"{state}: {problem.message}" if problem else str(state)
        case Planned(mode=mode, subtasks=subtasks, why=why):
            return f"plan: {mode}, {len(subtasks)} subtasks. {why}".rstrip()
        case SubtaskStatus(state=state) as status:
            return f"{MARKS[state]} {status.id} {state}  {View()._words(status)}".rstrip()  # noqa: SLF001  # ours
        case Reviewed(round=number, verdicts=verdicts):
            return f"review {number}: " + ", ".join(map(_verdict, verdicts))
        case Progress():
            return ""


def tokens(spent: Spent) -> str:
    """Say what was spent; nothing when nothing was."""
    parts = []
    if spent.orchestrator_tokens:
        parts.append(f"orchestrator {spent.orchestrator_tokens:,}")
    if spent.worker_tokens:
        parts.append(f"workers {spent.worker_tokens:,}" if parts else f"{spent.worker_tokens:,}")
    return f"{' + '.join(parts)} tokens" if parts else ""


def short(title: str) -> str:
    """Give the beginning of a title, in one line."""
    line = " ".join(title.split())
    return line if len(line) <= TITLE_CHARS_MAX else f"{line[: TITLE_CHARS_MAX - 1]}…"


def _verdict(verdict: Verdict) -> str:
    said = _VERDICTS[verdict.kind]
    return f"{verdict.subtask} {said}" + (f" ({verdict.reason})" if verdict.reason else "")
