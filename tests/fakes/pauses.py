"""Time that passes on purpose: how long something is down, frozen, or worked on. No test hopes for anything meanwhile."""

import asyncio
from contextlib import suppress


async def pause(seconds: float) -> None:
    """Let *seconds* pass."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()
