"""One piece of work that several callers wait for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from hubspoke.errors import EngineUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


class Shared(Generic[T]):
    """Runs *work* once. A waiter that is cancelled leaves the others alone; the last to leave ends the work."""

    def __init__(self, work: Coroutine[Any, Any, T], done: Callable[[], None]) -> None:
        self._task = asyncio.create_task(work)
        self._task.add_done_callback(_seen)
        self._task.add_done_callback(lambda _: done())
        self._waiting = 0
        self.is_abandoned = False
        """Whether the last waiter has left: it is being ended, and nobody can join it any more."""

    async def wait(self) -> T:
        """Give the result; raise what the work raises, or EngineUnavailable when it was cancelled."""
        self._waiting += 1
        try:
            await asyncio.wait({self._task})
        finally:
            self._waiting -= 1
            if self._waiting == 0 and not self._task.done():
                self.is_abandoned = True
                await self.cancel()
        if self._task.cancelled():
            raise EngineUnavailable("the engine is being stopped")
        return self._task.result()

    async def gone(self) -> None:
        """Wait until the work has ended, however it does."""
        await asyncio.wait({self._task})

    async def cancel(self) -> None:
        """End the work, and wait until it has; nothing happens when it is done."""
        self._task.cancel()
        await asyncio.wait({self._task})


def _seen(task: asyncio.Task[T]) -> None:
    """Look at a failure that nobody may be left to hear of, or else asyncio reports it as lost."""
    if not task.cancelled():
        task.exception()
