"""Everything that the hub keeps beside its delegations: in a file, or in a database that hubs share."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

# Each of these describes tables, and all of them have to be known before any is made or moved.
from hub.store import accepts, keys, mesh, moving, nodes, tokens
from hub.store.database import Database
from hub.store.server import server_url
from hubspoke.errors import StoreFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hub.config import DatabaseConfig

TABLES = (accepts, keys, mesh, nodes, tokens)


@asynccontextmanager
async def open_state(told: DatabaseConfig, file: Path) -> AsyncIterator[Database]:
    """Open what is kept for as long as the block lasts; raise StoreFailed, InvalidRequest for an address that is none."""
    await asyncio.to_thread(_require_address, told, file)
    database = await (Database.share(server_url(told), file) if told.url else Database.open(file))
    try:
        yield database
    finally:
        await database.close()


def _require_address(told: DatabaseConfig, file: Path) -> None:
    """Refuse to begin anew where a setting got lost: who was revoked since would come back, or everybody would be a stranger."""
    away = moving.away(file)
    if not told.url and not file.exists() and away.exists():
        raise StoreFailed(
            f"what this hub keeps was moved into a database, and [database] url names none: name it again, or rename {away} to "
            f"{file.name} to go back to what was kept then"
        )
