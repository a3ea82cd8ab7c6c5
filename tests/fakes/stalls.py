"""How long something took, less the time for which the whole machine stood still: a promise of seconds is not about that."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.fakes.pauses import pause

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TICK_S = 0.01
TICK_S_MAX = 0.05
"""What a tick counts for at most, however late it came."""


class Awake:
    """Counts the time in which the event loop goes on. What blocks the loop itself does not count: measure that otherwise."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    async def count(self) -> None:
        """Count until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            began_at = loop.time()
            await pause(TICK_S)
            self.passed_s += min(loop.time() - began_at, TICK_S_MAX)


@asynccontextmanager
async def awake() -> AsyncIterator[Awake]:
    """Count as long as the block lasts."""
    counted = Awake()
    counting = asyncio.create_task(counted.count())
    try:
        yield counted
    finally:
        counting.cancel()
        await asyncio.wait({counting})
