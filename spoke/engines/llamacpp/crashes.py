"""When a model that crashes may be started again. Pure: time comes in as seconds of a clock that only goes forward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WINDOW_S: Final = 300.0
CRASHES_MAX: Final = 3
"""After so many within the window the model is left alone until the first of them is that old."""
BACKOFF_S: Final = (0.5, 5.0)
"""How long after the first and the second crash the next start waits."""


@dataclass(frozen=True, slots=True)
class CrashHistory:
    """When one model crashed, oldest first."""

    times_s: tuple[float, ...] = ()

    def crashed(self, now_s: float) -> CrashHistory:
        """Give the history after one more crash."""
        return CrashHistory((*self._recent(now_s), now_s)[-CRASHES_MAX:])

    def resting_s(self, now_s: float) -> float:
        """Say for how long the model is left alone; 0 when it may be started."""
        recent = self._recent(now_s)
        return recent[0] + WINDOW_S - now_s if len(recent) >= CRASHES_MAX else 0.0

    def backoff_s(self, now_s: float) -> float:
        """Say how long a start has to wait; 0 when not at all."""
        recent = self._recent(now_s)
        if not recent:
            return 0.0
        pause_s = BACKOFF_S[min(len(recent), len(BACKOFF_S)) - 1]
        return max(0.0, recent[-1] + pause_s - now_s)

    def _recent(self, now_s: float) -> tuple[float, ...]:
        return tuple(time_s for time_s in self.times_s if now_s - time_s < WINDOW_S)
