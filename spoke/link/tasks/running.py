"""The tasks of this spoke: each runs once, for whoever follows it, and for nobody when its session has ended."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, TypeAlias

from hubspoke.errors import EngineTruncated, InternalError, MeshError
from hubspoke.types import Delta, Embeddings, Finished, FinishReason, HeldTask
from spoke.core.coalesce import Coalescer
from spoke.core.tasks import refusal_of_task
from spoke.link.boundary import contained
from spoke.link.tasks.results import RESULTS_MAX, Result

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from hubspoke.clock import Clock
    from hubspoke.errors import SessionError
    from hubspoke.types import Place, Task, TaskKey
    from spoke.link.machine import Machine
    from spoke.link.tasks.results import Results

    Ask: TypeAlias = Callable[[], AsyncGenerator[Delta | Embeddings | Finished, None]]

UNHEARD_CHARS_MAX: Final = 16 * 1024 * 1024
"""Text of one task that is kept for whoever follows it later."""

log = logging.getLogger(__name__)


class Running:
    """A task under way: what there is of its answer so far, and how it ended."""

    def __init__(self, task: Task, place: Place) -> None:
        self.task = task
        self.place = place
        self.pieces: list[Delta] = []
        self.ending: Finished | MeshError | None = None
        self.work: asyncio.Task[None] | None = None
        self.is_called_off = False
        self._news = asyncio.Event()

    def tell(self) -> None:
        """Let whoever follows look again."""
        self._news.set()
        self._news = asyncio.Event()

    async def follow(self) -> AsyncGenerator[Delta | Finished, None]:
        """Give the answer from its beginning, as it comes; raise the MeshError that ended it."""
        told = 0
        try:
            while self.ending is None or told < len(self.pieces):
                news = self._news
                while told < len(self.pieces):
                    told += 1
                    yield self.pieces[told - 1]
                if self.ending is None:
                    await news.wait()
            if isinstance(self.ending, MeshError):
                raise self.ending
            yield self.ending
        finally:
            if self.is_called_off and self.work is not None:
                await asyncio.wait({self.work})  # the slot is free only when the engine is


class Tasks:
    """What this spoke works on and what it has done, by key. `run` it for as long as the spoke lives."""

    def __init__(self, results: Results, machine: Machine, clock: Clock) -> None:
        self._results = results
        self._machine = machine
        self._clock = clock
        self._running: dict[TaskKey, Running] = {}
        self._done: dict[TaskKey, Result] = {}
        self._group: asyncio.TaskGroup | None = None
        self.is_ready = asyncio.Event()
        """Set once what an earlier run of this spoke has done is known."""

    async def run(self) -> None:
        """Let tasks run, until cancelled."""
        async with asyncio.TaskGroup() as self._group:
            self._done = await asyncio.to_thread(self._results.load, self._clock.now().timestamp())
            self.is_ready.set()
            await asyncio.Event().wait()

    def held(self) -> tuple[HeldTask, ...]:
        """Give everything that a hub might want to know of."""
        running = (HeldTask(one.task, done=False) for one in self._running.values())
        return (*running, *(HeldTask(result.task, done=True) for result in self._done.values()))

    def knows(self, key: TaskKey) -> bool:
        """Whether a task runs or is done, so that nothing has to be in memory for it."""
        return key in self._running or key in self._done

    def refusal(self, task: Task) -> SessionError | None:
        """Say why *task* is not taken, or None."""
        running, done = self._running.get(task.key), self._done.get(task.key)
        known = running.task if running is not None else done.task if done is not None else None
        return refusal_of_task(task, known)

    def answer(self, task: Task, place: Place, ask: Ask) -> AsyncGenerator[Delta | Finished, None]:
        """Give the answer of *task*, which was not refused: the one that is kept, the one under way, or a new one."""
        done = self._done.get(task.key)
        if done is not None:
            log.info("task answered from its result", extra={"task": task.key})
            return _replayed(done)
        running = self._running.get(task.key)
        if running is None:
            running = self._start(task, place, ask)
        else:
            running.task = task  # whoever asks has the newest epoch
            log.info("task joined", extra={"task": task.key})
        return running.follow()

    def cancel(self, key: TaskKey) -> None:
        """Stop a task that runs: nobody wants it any more."""
        running = self._running.get(key)
        if running is not None and running.work is not None:
            running.is_called_off = True
            running.work.cancel()

    async def settle(self, key: TaskKey) -> None:
        """Forget the result of a task, which its hub has stored, or stop it: it is not wanted."""
        self.cancel(key)
        if self._done.pop(key, None) is not None:
            await asyncio.to_thread(self._results.forget, key)

    def _start(self, task: Task, place: Place, ask: Ask) -> Running:
        if self._group is None:
            raise InternalError("tasks run only while the spoke does")
        running = self._running[task.key] = Running(task, place)
        self._machine.begin(place)
        log.info("task begun", extra={"task": task.key, "epoch": task.epoch})
        running.work = self._group.create_task(self._work(running, ask))
        running.work.add_done_callback(lambda _: self._over(running))
        return running

    async def _work(self, running: Running, ask: Ask) -> None:
        gathered = await contained("engine", _gathered(running, ask))
        if isinstance(gathered, Finished):
            await self._keep(running, gathered)
        running.ending = gathered

    async def _keep(self, running: Running, ending: Finished) -> None:
        """Keep a result before anybody hears that there is one."""
        result = Result(
            key=running.task.key,
            epoch=running.task.epoch,
            request_digest=running.task.request_digest,
            made_at=self._clock.now().timestamp(),
            pieces=_joined(running.pieces),
            ending=ending,
        )
        saving = asyncio.create_task(asyncio.to_thread(self._results.save, result))
        try:
            is_kept = await asyncio.shield(saving)
        except asyncio.CancelledError:
            if running.is_called_off:  # and the thread goes on
                await asyncio.wait({saving})
                await asyncio.to_thread(self._results.forget, running.task.key)
            raise
        if is_kept:
            self._done[running.task.key] = result
            await self._make_room()

    async def _make_room(self) -> None:
        while len(self._done) > RESULTS_MAX:
            await self.settle(min(self._done, key=lambda key: self._done[key].made_at))

    def _over(self, running: Running) -> None:
        self._running.pop(running.task.key, None)
        self._machine.end(running.place)
        if running.ending is None:
            running.ending = EngineTruncated("the task was called off")
        running.tell()


async def _gathered(running: Running, ask: Ask) -> Finished:
    """Read the engine to its end, whoever follows; raise the MeshError that it ends with."""
    chars = 0
    async with aclosing(ask()) as events:
        async for event in events:
            if isinstance(event, Finished):
                if event.reason is FinishReason.CANCELLED:
                    break
                return event
            if isinstance(event, Delta):
                running.pieces.append(event)
                chars += len(event.text) + len(event.thinking)
                running.tell()
            if chars > UNHEARD_CHARS_MAX:
                raise EngineTruncated("the answer is longer than a task's result may be")
    raise EngineTruncated("the engine's answer broke off; ask again")


def _joined(pieces: list[Delta]) -> tuple[Delta, ...]:
    """Put together what came token by token."""
    joined: list[Delta] = []
    gathered = Coalescer(0.0)
    for piece in pieces:
        if not gathered.takes(piece) and (whole := gathered.take(0.0)) is not None:
            joined.append(whole)
        gathered.add(piece)
    last = gathered.take(0.0)
    return (*joined, last) if last is not None else tuple(joined)


async def _replayed(result: Result) -> AsyncGenerator[Delta | Finished, None]:
    for piece in result.pieces:
        yield piece
    yield result.ending
