"""What becomes of an assignment whose task this spoke may know already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hubspoke.errors import TaskConflict

if TYPE_CHECKING:
    from hubspoke.errors import SessionError
    from hubspoke.types import Task


def refusal_of_task(wanted: Task, known: Task | None) -> SessionError | None:
    """Say why *wanted* is not taken, given what is *known* under its key; None when it is.

    Whoever comes with a smaller epoch has lost the work to somebody else and does not know yet. A key that stands for
    another request is never answered with that one's result.
    """
    if known is None:
        return None
    if wanted.epoch < known.epoch:
        return TaskConflict("this task has a newer owner")
    if wanted.request_digest != known.request_digest:
        return TaskConflict("this key stands for another request here")
    return None
