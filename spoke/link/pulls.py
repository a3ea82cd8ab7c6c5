"""Models on their way onto this spoke's disk. They take minutes, so they go on beside everything else."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from hubspoke.errors import Cancelled, EngineOverloaded
from hubspoke.wire.upkeep import step_to_wire

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from hubspoke.api.mesh.v1 import mesh_pb2 as pb
    from hubspoke.clock import Clock
    from hubspoke.errors import MeshError
    from hubspoke.types import Place, PullStep
    from spoke.link.machine import Machine

PULLS_MAX: Final = 4
"""Pulls at a time; more share the same wire and disk, and are only slower each."""
TOLD_S: Final = 0.5
"""How often the hub hears how far a pull has come, at most; engines tell a hundred times a second."""


class Pulls:
    """The pulls of one session. *hurry* sends a beat soon; *ended* hears how each one came to its end, and how long it took."""

    def __init__(
        self,
        machine: Machine,
        clock: Clock,
        hurry: Callable[[], None],
        ended: Callable[[int, MeshError | None, float], None],
    ) -> None:
        self._machine = machine
        self._clock = clock
        self._hurry = hurry
        self._ended = ended
        self._running: dict[int, asyncio.Task[None]] = {}
        self._news: dict[int, PullStep] = {}
        self._told_at = float("-inf")

    def start(self, directive: int, place: Place, group: asyncio.TaskGroup) -> None:
        """Get the model at *place*, in a task of *group*."""
        if len(self._running) >= PULLS_MAX:
            busy = EngineOverloaded(
                f"{PULLS_MAX} models are being pulled on this spoke already; try again later"
            )
            self._ended(directive, busy, 0.0)
            return
        task = group.create_task(self._pull(directive, place))
        self._running[directive] = task
        # A callback and not the task's own last words: a task that is cancelled before its first step has none.
        task.add_done_callback(partial(self._over, directive, self._clock.monotonic()))

    def stop(self, directive: int) -> None:
        """Stop the pull that *directive* began, unless it is over."""
        if directive in self._running:
            self._running[directive].cancel()

    def stop_all(self) -> None:
        """Stop every pull: the session is over. What is there of a model is kept for the next try."""
        for task in self._running.values():
            task.cancel()

    def take_news(self) -> list[pb.DirectiveProgress]:
        """Give how far each pull has come, unless that was told already."""
        news = [step_to_wire(directive, step) for directive, step in self._news.items()]
        self._news.clear()
        self._told_at = self._clock.monotonic()
        return news

    async def _pull(self, directive: int, place: Place) -> None:
        began_at = self._clock.monotonic()
        failure = await self._machine.pull(place, partial(self._progress, directive))
        self._news.pop(directive, None)
        self._ended(directive, failure, self._clock.monotonic() - began_at)

    def _progress(self, directive: int, step: PullStep) -> None:
        self._news[directive] = step
        if self._clock.monotonic() - self._told_at >= TOLD_S:
            self._hurry()

    def _over(self, directive: int, began_at: float, task: asyncio.Task[None]) -> None:
        del self._running[directive]
        if task.cancelled():
            self._news.pop(directive, None)
            stopped = Cancelled("the pull was stopped; another one goes on from there")
            self._ended(directive, stopped, self._clock.monotonic() - began_at)
