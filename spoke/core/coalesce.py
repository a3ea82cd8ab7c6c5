"""When the tokens of an answer are sent: the first at once, then what has gathered, every so many milliseconds.

20 tokens a message carry 8.6 times the tokens a second that one token a message does, and nobody reads that fast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

FLUSH_S_MIN: Final = 0.015
FLUSH_S_MAX: Final = 0.050
BATCH_CHARS_MAX: Final = 16_384
"""A batch this long goes at once, and the engine waits until it is gone."""

MARK_SHARE: Final = 0.2
"""Marks on the clock at which gathered tokens leave, as a share of the interval: how much later than due at most."""


def flush_interval_s(asked_s: float) -> float:
    """Give what the hub asks for, kept within what the contract allows."""
    return min(max(asked_s, FLUSH_S_MIN), FLUSH_S_MAX)


@dataclass(frozen=True, slots=True)
class Batch:
    """Text that goes out in one message, and how many tokens it is made of."""

    text: str
    tokens: int


class Coalescer:
    """Gathers the tokens of one answer. Times are seconds of one clock that only goes forward."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._texts: list[str] = []
        self._chars = 0
        self._tokens = 0
        self._sent_at = float("-inf")

    @property
    def is_full(self) -> bool:
        """Whether no more is to be gathered before something is taken."""
        return self._chars >= BATCH_CHARS_MAX

    def add(self, text: str, tokens: int) -> float:
        """Gather *text*, and say when it is due."""
        self._texts.append(text)
        self._chars += len(text)
        self._tokens += tokens
        if self.is_full or self._sent_at == float("-inf"):
            return float("-inf")
        # All answers of a spoke share the marks, so that their messages leave together and share a write.
        mark_s = self._interval_s * MARK_SHARE
        return math.ceil((self._sent_at + self._interval_s) / mark_s) * mark_s

    def take(self, now: float) -> Batch | None:
        """Give what has gathered; None when there is nothing to send."""
        if not self._texts:
            return None
        batch = Batch(text="".join(self._texts), tokens=self._tokens)
        self._texts.clear()
        self._chars = self._tokens = 0
        self._sent_at = now
        return batch
