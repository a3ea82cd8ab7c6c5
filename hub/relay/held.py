"""The tasks that spokes have brought into their sessions: work that went on while the hub was away, and its results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hub.core.types import IN_SESSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub.relay.sessions import Sessions
    from hubspoke.types import HeldTask, SpokeId, TaskKey

    Listener = Callable[[SpokeId, tuple[HeldTask, ...]], None]


@dataclass(frozen=True, slots=True)
class _Brought:
    session: int
    tasks: dict[TaskKey, HeldTask]


class HeldTasks:
    """What each spoke said in the first beat of its session. Whoever has called `on_brought` hears of it at once."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._brought: dict[SpokeId, _Brought] = {}
        self._listeners: list[Listener] = []

    def on_brought(self, tell: Listener) -> None:
        """Call *tell* from now on with what a spoke brings; with nothing, too: then it holds nothing any more."""
        self._listeners.append(tell)

    def brought(self, spoke: SpokeId, session: int, held: tuple[HeldTask, ...]) -> None:
        """Note what a spoke holds at the beginning of *session*."""
        self._brought[spoke] = _Brought(session, {one.task.key: one for one in held})
        for tell in self._listeners:
            tell(spoke, held)

    def of(self, spoke: SpokeId) -> dict[TaskKey, HeldTask] | None:
        """Give what *spoke* held when its session began; `None` while it is not connected, or has not said yet."""
        known, brought = self._sessions.registry.spokes.get(spoke), self._brought.get(spoke)
        if known is None or known.state not in IN_SESSION or brought is None:
            return None
        return brought.tasks if brought.session == known.session else None

    def all(self) -> tuple[tuple[SpokeId, tuple[TaskKey, ...]], ...]:
        """Give what every spoke that is connected held when its session began, as `of` does."""
        return tuple((spoke, tuple(self.of(spoke) or ())) for spoke in self._brought)

    def settle(self, spoke: SpokeId, *keys: TaskKey) -> None:
        """Let *spoke*, and whoever else has brought them, forget the results of tasks, and stop what runs of them.

        Who is away does not hear it, and brings them again.
        """
        for other, brought in self._brought.items():
            theirs = [key for key in keys if brought.tasks.pop(key, None) is not None and other != spoke]
            if theirs:
                self._sessions.settle(other, *theirs)
        self._sessions.settle(spoke, *keys)
