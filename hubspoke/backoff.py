"""How long to wait before the next try."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential back-off with full jitter: uniform between 0 and the growing limit, in seconds.

    Full jitter spreads many clients that lost the same server best; see M. Brooker, "Exponential Backoff And
    Jitter", AWS Architecture Blog, 2015.
    """

    base_s: float
    cap_s: float

    def delay_s(self, failures: int, chance: Callable[[], float]) -> float:
        """Give the wait after *failures* failures in a row, at least 1; *chance* gives a number in [0, 1)."""
        # 2 ** 30 is beyond every cap, and a larger power would leave the range of floats one day.
        limit = min(self.cap_s, self.base_s * 2.0 ** min(failures - 1, 30))
        return chance() * limit
