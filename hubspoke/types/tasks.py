"""Work that is done once: a task has a key that is the same for every attempt, wherever and whenever it is tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NewType

TaskKey = NewType("TaskKey", str)
"""Names a task for good, as `<delegation>/<subtask>/<revision>`."""

TASK_KEY_CHARS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Task:
    """A task as a spoke is given it.

    *epoch* counts the owners of the work, so that one who has lost it is known by a smaller number. *request_digest* is
    the SHA-256 of the request: the same key with another one is other work.
    """

    key: TaskKey
    epoch: int
    request_digest: bytes


@dataclass(frozen=True, slots=True)
class HeldTask:
    """A task that a spoke works on, or whose result it keeps when it is *done*."""

    task: Task
    done: bool
