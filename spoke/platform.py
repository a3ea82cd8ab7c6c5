"""What differs between operating systems. Tests take the other path by handing in the other `Platform`."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


@dataclass(frozen=True, slots=True)
class Platform:
    """What this machine's system offers. Which event loop it takes is `hubspoke.loop`'s to say."""

    has_unix_sockets: bool
    """Whether a server can listen in the file system, where permissions keep others out."""
    has_loop_signals: bool
    """Whether the event loop itself can call back on a signal."""


def here() -> Platform:
    """Describe the system that this process runs on."""
    posix = sys.platform != "win32"
    return Platform(has_unix_sockets=posix, has_loop_signals=posix)


class Detachment(TypedDict, total=False):
    """Arguments for the start of a process."""

    start_new_session: bool
    creationflags: int


def detached() -> Detachment:
    """Give the arguments that start a process out of reach of the terminal's Ctrl-C."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


@contextmanager
def stop_signals(stop: Callable[[], None], platform: Platform) -> Iterator[None]:
    """Call *stop* on the running loop when someone wants this process to end, for as long as this lasts."""
    loop = asyncio.get_running_loop()
    numbers = _stop_signals()
    if platform.has_loop_signals:
        for number in numbers:
            loop.add_signal_handler(number, stop)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)
        return

    def from_any_thread(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stop)

    before = {number: signal.signal(number, from_any_thread) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop_signals() -> tuple[signal.Signals, ...]:
    if sys.platform == "win32":
        return (signal.SIGINT, signal.SIGBREAK)
    return (signal.SIGINT, signal.SIGTERM)
