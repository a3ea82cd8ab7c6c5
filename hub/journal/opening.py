"""Where the journal lies: in files beside the hub's other state, or in a PostgreSQL database that hubs share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from hub.journal.formats import prepare
from hub.journal.journal import Journal
from hub.store.database import Database
from hub.store.server import server_url

if TYPE_CHECKING:
    from pathlib import Path

    from hub.config import DatabaseConfig
    from hubspoke.clock import Clock


@dataclass(frozen=True, slots=True)
class Opened:
    """A journal, where the engine is to keep its steps, and whether other hubs may have worked on it."""

    journal: Journal
    steps: sa.URL
    is_shared: bool


async def open_journal(told: DatabaseConfig, directory: Path, hub: str, clock: Clock) -> Opened:
    """Open the journal of the hub that keeps its files in *directory*; raise StoreFailed, or InvalidRequest for a bad address."""
    if told.url:
        steps = server_url(told)
        database = await Database.connect(steps, prepare)
    else:
        # Apart from the others: there the engine writes with threads of its own, and nobody waits for them.
        steps = sa.URL.create("sqlite", database=str(directory / "steps.db"))
        database = await Database.open_tables(directory / "delegations.db", prepare)
    return Opened(Journal(database, hub, clock), steps, is_shared=bool(told.url))
