"""Where the journal lies: in files beside the hub's other state, or in a PostgreSQL database that hubs share."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from hub.journal.journal import Journal
from hub.journal.ownership import FileOwner, ServerOwner
from hub.journal.tables import METADATA
from hub.store.database import Database
from hubspoke.errors import InvalidRequest, MeshError, StoreFailed

if TYPE_CHECKING:
    from hub.config import JournalConfig
    from hub.journal.ownership import Owner
    from hubspoke.clock import Clock

log = logging.getLogger(__name__)

DRIVER: Final = "postgresql+psycopg"
CONNECT_TIMEOUT_S: Final = 10

LOST_AFTER: Final = {"keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3"}
"""A server that is cut off is given up after 11 s, and not after hours."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A journal, the name that this hub has in it, and where the engine is to keep its steps."""

    journal: Journal
    owner: Owner
    steps: sa.URL
    is_shared: bool


async def open_journal(told: JournalConfig, directory: Path, hub: str, clock: Clock) -> Opened:
    """Open the journal of the hub that keeps its state in *directory*; raise InvalidRequest when another has it."""
    if not told.url:
        owner = FileOwner(directory / "delegations.lock")
        try:
            database = await Database.open_tables(directory / "delegations.db", METADATA)
        except StoreFailed:
            await owner.close()
            raise
        # Apart from the others: there the engine writes with threads of its own, and nobody waits for them.
        steps = sa.URL.create("sqlite", database=str(directory / "steps.db"))
        return Opened(Journal(database, hub, clock, is_shared=False), owner, steps, is_shared=False)
    url = _server(told)
    server_owner = ServerOwner(sa.create_engine(url), hub)
    try:
        await server_owner.hold()
        database = await Database.connect(url, METADATA)
    except sa.exc.SQLAlchemyError as error:
        await server_owner.close()
        log.warning("journal not reached", extra={"why": type(error).__name__})
        raise StoreFailed("the journal's database cannot be reached; look at [journal] url") from error
    except MeshError:
        await server_owner.close()
        raise
    return Opened(Journal(database, hub, clock, is_shared=True), server_owner, url, is_shared=True)


def _server(told: JournalConfig) -> sa.URL:
    try:
        url = sa.make_url(told.url)
    except sa.exc.ArgumentError as error:
        raise InvalidRequest("[journal] url is none; write it as postgresql://user@host/database") from error
    if url.get_backend_name() != "postgresql":
        raise InvalidRequest("[journal] url is not one of PostgreSQL, which is all that hubs can share")
    if url.password is not None:
        raise InvalidRequest(
            "[journal] url holds a password; put that into a file, as password_file or PGPASSFILE"
        )
    if told.password_file:
        url = url.set(password=Path(told.password_file).read_text(encoding="utf-8").strip())
    timeout = {"connect_timeout": str(CONNECT_TIMEOUT_S)}
    return url.set(drivername=DRIVER).update_query_dict({**LOST_AFTER, **timeout})
