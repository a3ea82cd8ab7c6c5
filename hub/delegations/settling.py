"""What spokes may forget: results that are kept here, and whatever belongs to delegations that have ended."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from typing import TYPE_CHECKING

from hubspoke.errors import StoreFailed
from hubspoke.types import DelegationId, SpokeId, TaskKey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hub.journal.journal import Journal
    from hub.relay.held import HeldTasks
    from hubspoke.types import HeldTask

log = logging.getLogger(__name__)


class Settling:
    """Settles tasks at once, and those that a spoke brings again: it was away, or the word that settled them got lost."""

    def __init__(self, journal: Journal, held: HeldTasks) -> None:
        self._journal = journal
        self._held = held
        # Of what runs here alone, so there are no more of them than subtasks of open delegations.
        self._settled: defaultdict[DelegationId, set[TaskKey]] = defaultdict(set)
        # All of them: the first may have the result when a second one has been asked for it, too.
        self._given: defaultdict[DelegationId, dict[TaskKey, frozenset[SpokeId]]] = defaultdict(dict)
        self._brought: dict[SpokeId, frozenset[TaskKey]] = {}
        self.news = asyncio.Event()
        """Set when there is something to `look` at."""

    def given(self, key: TaskKey, spoke: SpokeId) -> None:
        """Note who works on a task, as well."""
        given = self._given[_delegation_of(key)]
        given[key] = given.get(key, frozenset()) | {spoke}

    def settle(self, key: TaskKey, spoke: str) -> None:
        """Let *spoke*, and whoever else was given it, forget a task whose answer is kept."""
        self._settled[_delegation_of(key)].add(key)
        for each in self._given[_delegation_of(key)].pop(key, frozenset()) | {SpokeId(spoke)}:
            self._held.settle(each, key)

    def is_over(self, delegation: DelegationId) -> None:
        """Forget what was settled of a delegation: from now on the journal says that it has ended.

        What spokes still hold of it is looked at once more.
        """
        self._settled.pop(delegation, None)
        for key, spokes in self._given.pop(delegation, {}).items():
            for spoke in spokes:
                self._note(spoke, [key])
        for spoke, keys in self._held.all():
            if theirs := [key for key in keys if _delegation_of(key) == delegation]:
                self._note(spoke, theirs)

    def brought(self, spoke: SpokeId, held: Iterable[HeldTask]) -> None:
        """Have it looked at soon what a spoke has brought into its session."""
        self._note(spoke, [one.task.key for one in held])

    async def look(self) -> None:
        """Settle what was brought and is not wanted any more; raise StoreFailed, after which `look` can be tried again."""
        while self._brought:
            spoke, keys = self._brought.popitem()
            try:
                unended = await self._journal.unended({_delegation_of(key) for key in keys})
            except StoreFailed:
                self._note(spoke, keys)
                raise
            unwanted = [key for key in keys if not self._is_wanted(key, unended)]
            if unwanted:
                log.info("leftovers settled", extra={"spoke": spoke, "tasks": len(unwanted)})
                self._held.settle(spoke, *unwanted)

    def _note(self, spoke: SpokeId, keys: Iterable[TaskKey]) -> None:
        self._brought[spoke] = self._brought.get(spoke, frozenset()).union(keys)
        self.news.set()

    def _is_wanted(self, key: TaskKey, unended: frozenset[DelegationId]) -> bool:
        delegation = _delegation_of(key)
        return delegation in unended and key not in self._settled.get(delegation, ())


def _delegation_of(key: TaskKey) -> DelegationId:
    return DelegationId(key.partition("/")[0])
