"""Whoever watches delegations: told that there is news, and never waited for."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hubspoke.types import DelegationId, Progress, SubtaskId


@dataclass(slots=True, eq=False)
class Watcher:
    """One who watches. `progress` holds the latest of each subtask: who is slow misses what is old."""

    news: asyncio.Event = field(default_factory=asyncio.Event)
    progress: dict[SubtaskId | None, Progress] = field(default_factory=dict)

    def take_progress(self) -> tuple[Progress, ...]:
        """Give what came since this was last asked."""
        taken = tuple(self.progress.values())
        self.progress.clear()
        return taken


class Watchers:
    """All who watch, by delegation."""

    def __init__(self) -> None:
        self.are_gone = False
        self._of: defaultdict[DelegationId, set[Watcher]] = defaultdict(set)

    @contextmanager
    def watching(self, delegation: DelegationId) -> Iterator[Watcher]:
        """Hear of *delegation* for as long as the block lasts."""
        watcher = Watcher()
        self._of[delegation].add(watcher)
        try:
            yield watcher
        finally:
            self._of[delegation].discard(watcher)
            if not self._of[delegation]:
                del self._of[delegation]

    def tell(self, delegation: DelegationId) -> None:
        """Say that something has happened to *delegation*."""
        for watcher in self._of.get(delegation, ()):
            watcher.news.set()

    def tell_progress(self, delegation: DelegationId, progress: Progress) -> None:
        """Say that tokens are being written for *delegation*."""
        for watcher in self._of.get(delegation, ()):
            watcher.progress[progress.subtask] = progress
            watcher.news.set()

    def let_go(self) -> None:
        """Say that there will be no more news."""
        self.are_gone = True
        for delegation in self._of:
            self.tell(delegation)
