"""Being asked to stop: by a signal, or on Windows by Ctrl-C and Ctrl-Break."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


@contextmanager
def stop_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call *stop* on the running loop each time someone wants this process to end, for as long as this lasts."""
    loop = asyncio.get_running_loop()

    # Not the loop's own handlers: those do not exist on Windows.
    def hear(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stop)

    before = {number: signal.signal(number, hear) for number in _stop_signals()}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _stop_signals() -> tuple[signal.Signals, ...]:
    if sys.platform == "win32":
        return (signal.SIGINT, signal.SIGBREAK)
    return (signal.SIGINT, signal.SIGTERM)
