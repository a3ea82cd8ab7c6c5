"""How many answers an engine makes at once. Servers queue in silence what they cannot run; the hub must know instead."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hubspoke.errors import EngineOverloaded

if TYPE_CHECKING:
    from collections.abc import Iterator


class Admission:
    """Counts the answers under way of each model."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()

    def running(self, model: str) -> int:
        """Say how many answers of *model* are under way."""
        return self._running[model]

    @contextmanager
    def slot(self, model: str, slots: int) -> Iterator[None]:
        """Take one of the *slots* of *model* for as long as this lasts; raise EngineOverloaded when all are taken."""
        if self._running[model] >= slots:
            raise EngineOverloaded(f"all {slots} slots of {model!r} are busy; try again soon")
        self._running[model] += 1
        try:
            yield
        finally:
            self._running[model] -= 1
