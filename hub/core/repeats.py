"""What is said again and again: the first few times as it comes, then now and then with a count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BURST: Final = 5
"""Times that one key is let through before it is counted instead."""
PAUSE_S: Final = 60.0
"""How long a key is counted before it is let through again."""
KEYS_MAX: Final = 1_024
ALL_PER_S: Final = 1.0
ALL_BURST: Final = 200.0
"""Of all keys together: somebody may come under a new name each time."""

OTHERS: Final = ("",)
"""The key under which everything beyond `ALL_PER_S` is counted."""

Key = tuple[str, ...]


@dataclass(slots=True)
class _Said:
    times: int
    until: float
    unsaid: int = 0


class Repeats:
    """Decides, for a *now* of a clock that only goes forward, what is said and what is counted."""

    def __init__(self) -> None:
        self._said: dict[Key, _Said] = {}
        self._left = ALL_BURST
        self._at = 0.0

    def is_new(self, key: Key, now: float) -> bool:
        """Whether to say *key* now; if not, `summaries` gives how often it was held back."""
        said = self._said.get(key)
        if said is None:
            if len(self._said) >= KEYS_MAX or not self._takes_one(now):
                self._said.setdefault(OTHERS, _Said(BURST, now + PAUSE_S)).unsaid += 1
                return False
            self._said[key] = _Said(1, now + PAUSE_S)
            return True
        if said.times < BURST and self._takes_one(now):
            said.times += 1
            return True
        said.unsaid += 1
        return False

    def summaries(self, now: float, *, is_end: bool = False) -> list[tuple[Key, int]]:
        """Give the keys whose pause is over, or all of them at the end, with how often each was held back, if it was."""
        over = [key for key, said in self._said.items() if is_end or said.until <= now]
        return [(key, count) for key in over if (count := self._said.pop(key).unsaid)]

    def _takes_one(self, now: float) -> bool:
        self._left = min(ALL_BURST, self._left + max(0.0, now - self._at) * ALL_PER_S)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
