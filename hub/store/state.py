"""Everything that the hub keeps beside its delegations: in a file, or in a database that hubs share."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

# Each of these describes tables, and all of them have to be known before any is made or moved.
from hub.store import accepts, keys, mesh, nodes, tokens
from hub.store.database import Database
from hub.store.server import server_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hub.config import DatabaseConfig

TABLES = (accepts, keys, mesh, nodes, tokens)


@asynccontextmanager
async def open_state(told: DatabaseConfig, file: Path) -> AsyncIterator[Database]:
    """Open what is kept for as long as the block lasts; raise StoreFailed, InvalidRequest for an address that is none."""
    database = await (Database.share(server_url(told), file) if told.url else Database.open(file))
    try:
        yield database
    finally:
        await database.close()
