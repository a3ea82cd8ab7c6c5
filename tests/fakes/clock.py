"""Time that passes as usual, and as much more of it as the test wants."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from hubspoke.clock import SystemClock

if TYPE_CHECKING:
    from datetime import datetime

    from hubspoke.clock import Clock


DAY_S = 86_400.0
TO_MIDNIGHT_S_MIN = 120.0
"""Far more than a test takes, and less than matters to a certificate."""


def far_from_midnight() -> MovableClock:
    """Give a clock on which no day (UTC) ends while a test runs: shortly before midnight it is after it already."""
    clock = MovableClock()
    left_s = DAY_S - clock.now().timestamp() % DAY_S
    if left_s < TO_MIDNIGHT_S_MIN:
        clock.set_day(left_s)
    return clock


class MovableClock:
    """The machine's clocks, moved forward."""

    def __init__(self) -> None:
        self._real: Clock = SystemClock()
        self._ahead_s = 0.0
        self._day_ahead_s = 0.0

    def monotonic(self) -> float:
        return self._real.monotonic() + self._ahead_s

    def now(self) -> datetime:
        return self._real.now() + timedelta(seconds=self._ahead_s + self._day_ahead_s)

    def move(self, seconds: float) -> None:
        """Let *seconds* pass at once, for whoever asks this clock."""
        self._ahead_s += seconds

    def set_day(self, seconds: float) -> None:
        """Set the time of day ahead by *seconds*; the clock that only goes forward does not notice."""
        self._day_ahead_s += seconds


class StillClock(MovableClock):
    """A movable clock on which no time passes by itself but that of day: a machine that is slow makes nothing late."""

    def __init__(self) -> None:
        super().__init__()
        self._stands_at = self._real.monotonic()

    def monotonic(self) -> float:
        return self._stands_at + self._ahead_s
