"""Numbers that are good once and for a short while."""

from __future__ import annotations

from typing import Final

NONCE_S: Final = 30.0
NONCES_MAX: Final = 1_024
"""Numbers that are out at a time; beyond it the oldest is good no longer."""


class Nonces:
    """The numbers that are out. Whoever makes them passes chance and time in."""

    def __init__(self) -> None:
        self._ends_at: dict[bytes, float] = {}

    def give(self, nonce: bytes, now: float) -> None:
        """Let *nonce* be good once, for NONCE_S seconds."""
        while self._ends_at and (len(self._ends_at) >= NONCES_MAX or self._oldest() <= now):
            del self._ends_at[next(iter(self._ends_at))]
        self._ends_at[nonce] = now + NONCE_S

    def take(self, nonce: bytes, now: float) -> bool:
        """Say whether *nonce* is good, which it is not any more then."""
        ends_at = self._ends_at.pop(nonce, None)
        return ends_at is not None and now < ends_at

    def _oldest(self) -> float:
        return next(iter(self._ends_at.values()))
