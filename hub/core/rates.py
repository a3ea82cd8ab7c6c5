"""How often somebody may come: a bucket that fills evenly, one for each who comes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

KEYS_MAX: Final = 8_192
"""Buckets that are kept. Whoever did not come for longest is forgotten first, and begins with a full one."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second in the long run, and up to *burst* at once."""

    per_s: float
    burst: int


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Rates:
    """The buckets of all who come at one rate. Times are of a clock that only goes forward."""

    def __init__(self, rate: Rate, keys_max: int = KEYS_MAX) -> None:
        self._rate = rate
        self._keys_max = keys_max
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, key: str, now: float) -> float:
        """Take one from the bucket of *key*, and give 0; or leave it, and say in how many seconds there is one."""
        wait_s = self.wait_s(key, now)
        if not wait_s:
            self._buckets[key].left -= 1
        return wait_s

    def wait_s(self, key: str, now: float) -> float:
        """Say in how many seconds the bucket of *key* has one; 0 when it has one now."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._keys_max:
                self._buckets.popitem(last=False)
            bucket = self._buckets[key] = _Bucket(self._rate.burst, now)
        else:
            self._buckets.move_to_end(key)
            filled = max(0.0, now - bucket.at) * self._rate.per_s
            bucket.left, bucket.at = min(float(self._rate.burst), bucket.left + filled), now
        return 0.0 if bucket.left >= 1 else (1 - bucket.left) / self._rate.per_s
