"""The one module that asks the machine what time it is. Everything else is told."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one that only goes forward, and one that people read."""

    def monotonic(self) -> float:
        """Give seconds since some fixed moment; never goes back."""
        ...

    def now(self) -> datetime:
        """Give the time of day, with its zone."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        """Give seconds since some fixed moment; never goes back."""
        return time.monotonic()

    def now(self) -> datetime:
        """Give the time of day in UTC."""
        return datetime.now(UTC)


def time_of_day(clock: Clock, monotonic: float) -> datetime:
    """Give the time of day of a moment that the clock that only goes forward has shown."""
    return clock.now() - timedelta(seconds=clock.monotonic() - monotonic)
