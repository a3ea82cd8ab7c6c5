"""How the demo waits for what happens in other processes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_S: Final = 0.02
WAIT_S: Final = 30.0
"""Longest wait for anything but an answer; a slow machine needs 5."""


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until *is_so*, which is asked every `POLL_S`."""
    while not is_so():  # noqa: ASYNC110  # nobody in this process could set an event
        await asyncio.sleep(POLL_S)
