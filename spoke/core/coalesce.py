"""When the tokens of an answer are sent: the first at once, then what has gathered, every so many milliseconds.

20 tokens a message carry 8.6 times the tokens a second that one token a message does, and nobody reads that fast.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from hubspoke.types import Delta, ToolCallPart

FLUSH_S_MIN: Final = 0.015
FLUSH_S_MAX: Final = 0.050
BATCH_CHARS_MAX: Final = 16_384
"""A batch this long goes at once, and the engine waits until it is gone."""

MARK_SHARE: Final = 0.2
"""Marks on the clock at which gathered tokens leave, as a share of the interval: how much later than due at most."""


def flush_interval_s(asked_s: float) -> float:
    """Give what the hub asks for, kept within what the contract allows."""
    return min(max(asked_s, FLUSH_S_MIN), FLUSH_S_MAX)


class Coalescer:
    """Gathers the tokens of one answer. Times are seconds of one clock that only goes forward."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._gathered: list[Delta] = []
        self._chars = 0
        self._sent_at = float("-inf")

    @property
    def is_full(self) -> bool:
        """Whether no more is to be gathered before something is taken."""
        return self._chars >= BATCH_CHARS_MAX

    def takes(self, delta: Delta) -> bool:
        """Whether *delta* can go out together with what has gathered: text, thinking and calls do not mix."""
        return not self._gathered or _kind(self._gathered[-1]) == _kind(delta)

    def add(self, delta: Delta) -> float:
        """Gather *delta*, which `takes` has let in, and say when it is due."""
        self._gathered.append(delta)
        self._chars += len(delta.text) + len(delta.thinking)
        self._chars += sum(len(part.arguments) for part in delta.tool_calls)
        if self.is_full or self._sent_at == float("-inf"):
            return float("-inf")
        # All answers of a spoke share the marks, so that their messages leave together and share a write.
        mark_s = self._interval_s * MARK_SHARE
        return math.ceil((self._sent_at + self._interval_s) / mark_s) * mark_s

    def take(self, now: float) -> Delta | None:
        """Give what has gathered, as one; None when there is nothing to send."""
        if not self._gathered:
            return None
        whole = Delta(
            text="".join(delta.text for delta in self._gathered),
            thinking="".join(delta.thinking for delta in self._gathered),
            tool_calls=_joined(self._gathered),
            tokens=sum(delta.tokens for delta in self._gathered),
            piece_lengths=_lengths(self._gathered),
        )
        self._gathered.clear()
        self._chars = 0
        self._sent_at = now
        return whole


def _kind(delta: Delta) -> tuple[bool, bool]:
    return bool(delta.thinking), bool(delta.tool_calls)


def _lengths(deltas: list[Delta]) -> tuple[int, ...]:
    """Say where the pieces of text or thinking end; parts of calls are put together for good."""
    if len(deltas) == 1 or deltas[0].tool_calls:
        return ()
    return tuple(length for delta in deltas if (length := len(delta.text) + len(delta.thinking)))


def _joined(deltas: list[Delta]) -> tuple[ToolCallPart, ...]:
    """Put parts of the same call together that follow each other."""
    joined: list[ToolCallPart] = []
    for delta in deltas:
        for part in delta.tool_calls:
            if joined and joined[-1].index == part.index and not part.id and not part.name:
                joined[-1] = replace(joined[-1], arguments=joined[-1].arguments + part.arguments)
            else:
                joined.append(part)
    return tuple(joined)
