"""How work bears a database that is away or full: it waits. Whoever asks is told instead."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from hubspoke.errors import StoreFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

AGAIN_S: Final = 1.0
"""How long is waited before a database that failed is tried again."""

T = TypeVar("T")


async def patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Do *work*, again and again until the database takes it: what was accepted does not fail for want of room."""
    while True:
        try:
            return await work()
        except StoreFailed:
            await asyncio.sleep(AGAIN_S)
