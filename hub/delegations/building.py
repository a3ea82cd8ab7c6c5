"""Builds what delegations need, and lets go of it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hub.delegations.asking import Asker
from hub.delegations.delegations import Delegations
from hub.delegations.desk import Desk
from hub.delegations.settling import Settling
from hub.journal.opening import open_journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hub.config import Configuration
    from hub.core.delegation.accepts import Accepts
    from hub.dispatch.journey import Dispatch
    from hub.relay.held import HeldTasks
    from hub.relay.sessions import Sessions
    from hubspoke.clock import Clock


@dataclass(frozen=True, slots=True)
class Place:
    """Which hub it is, where it keeps its state, and its clock."""

    hub: str
    directory: Path
    clock: Clock


@asynccontextmanager
async def delegations_of(
    told: Configuration,
    place: Place,
    dispatch: Dispatch,
    sessions: Sessions,
    held: HeldTasks,
    *,
    accepts: Accepts,
) -> AsyncIterator[Delegations]:
    """Open the journal for as long as the block lasts. What runs then goes on when the hub is back.

    *accepts* is how models did so far.
    """
    opened = await open_journal(told.database, place.directory, place.hub, place.clock)
    asker = Asker(dispatch, sessions, held, place.clock)
    settling = Settling(opened.journal, held)
    desk = Desk(opened.journal, asker, settling, sessions, place.clock, told.roles.orchestrator, accepts)
    delegations = Delegations(desk, opened)
    held.on_brought(settling.brought)
    try:
        yield delegations
    finally:
        await delegations.close()
