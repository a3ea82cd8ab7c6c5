"""How a delegation stands, from all that has happened to it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hubspoke.types import Planned, SubtaskState, SubtaskStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hubspoke.types import DelegationInfo, Happening, SubtaskId

OVER: Final = frozenset(
    {
        SubtaskState.DONE,
        SubtaskState.ACCEPTED,
        SubtaskState.SKIPPED,
        SubtaskState.FAILED,
        SubtaskState.CANCELLED,
    }
)
"""States that a subtask may have in a delegation that has ended."""


def with_subtasks(info: DelegationInfo, happenings: Iterable[Happening]) -> DelegationInfo:
    """Add how its subtasks stand. What an event leaves out of a subtask is as it was."""
    subtasks: dict[SubtaskId, SubtaskStatus] = {}
    for happening in happenings:
        if isinstance(happening, Planned):
            subtasks = {status.id: status for status in happening.subtasks}
        elif isinstance(happening, SubtaskStatus):
            before = subtasks.get(happening.id, happening)
            subtasks[happening.id] = replace(happening, title=before.title, depends_on=before.depends_on)
    if info.has_ended:
        for name, status in subtasks.items():
            if status.state not in OVER:
                subtasks[name] = replace(status, state=SubtaskState.CANCELLED)
    return replace(info, subtasks=tuple(subtasks.values()))
