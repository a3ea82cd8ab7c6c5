"""What all delegations of a hub share: who asks, what is kept, and who orchestrates."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from hub.core import catalogue
from hub.core.delegation.accepts import Accepts
from hubspoke.errors import NoOrchestrator, NoSpoke, UnknownModel

if TYPE_CHECKING:
    from hub.delegations.asking import Asker
    from hub.delegations.settling import Settling
    from hub.journal.journal import Journal
    from hub.relay.sessions import Sessions
    from hubspoke.clock import Clock
    from hubspoke.types import Limits, ModelKey


@dataclass(slots=True)
class Desk:
    """The shared parts. *orchestrators* names the models that plan and review, best first."""

    journal: Journal
    asker: Asker
    settling: Settling
    sessions: Sessions
    clock: Clock
    orchestrators: tuple[str, ...]
    accepts: Accepts = field(default_factory=Accepts)
    _lanes: WeakValueDictionary[tuple[str, str], asyncio.Semaphore] = field(
        default_factory=WeakValueDictionary
    )

    def places(self, owner: str, limits: Limits) -> asyncio.Semaphore:
        """Give the places for subtasks of a delegation of *owner*; those in the same lane have the same ones."""
        if not limits.lane:
            return asyncio.Semaphore(limits.parallel_max)
        return self._lanes.setdefault((owner, limits.lane), asyncio.Semaphore(limits.parallel_max))

    def orchestrator(self) -> ModelKey:
        """Give the model that plans and reviews; raise NoOrchestrator when no spoke has one."""
        for name in self.orchestrators:
            try:
                return catalogue.resolve(self.sessions.registry, name).key
            except (UnknownModel, NoSpoke):
                continue
        if not self.orchestrators:
            raise NoOrchestrator("no model may plan and review; name one as orchestrator in [roles]")
        raise NoOrchestrator(f"no spoke has {' or '.join(self.orchestrators)}, which may plan and review")

    def model(self, name: str) -> ModelKey:
        """Give the model that *name* means, the orchestrator for none; raise UnknownModel or NoOrchestrator."""
        return catalogue.resolve(self.sessions.registry, name).key if name else self.orchestrator()
