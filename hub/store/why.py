"""What is the matter with a database that cannot be read or written, for whoever asked: they cannot look into the hub's log."""

from __future__ import annotations

import errno
import sqlite3
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Mapping

OTHERWISE: Final = "the hub's database cannot be read or written; its log says why"
AWAY: Final = (
    "the database that hubs share cannot be reached; ask again, the same, when it is back: what was kept already is not "
    "kept twice"
)
FULL: Final = "the disk with the hub's database is full, and nothing was kept; make room there, and ask again"
READ_ONLY: Final = (
    "the hub's database is read-only, and nothing was kept; let the hub write it, and ask again"
)
FAILING: Final = (
    "the disk with the hub's database fails or has become read-only, and nothing was kept; mend that, start the hub "
    "again, and ask again"
)

# By the first byte of SQLite's codes: the rest tells where it happened.
_OF_SQLITE: Final[Mapping[int, str]] = {
    sqlite3.SQLITE_FULL: FULL,
    sqlite3.SQLITE_READONLY: READ_ONLY,
    sqlite3.SQLITE_IOERR: FAILING,
    sqlite3.SQLITE_CANTOPEN: FAILING,
}
_OF_FILES: Final[Mapping[int, str]] = {errno.ENOSPC: FULL, errno.EDQUOT: FULL, errno.EROFS: FAILING}
_OF_POSTGRESQL: Final[Mapping[str, str]] = {"53100": FULL, "25006": READ_ONLY}


def told(error: Exception) -> str:
    """Say what is the matter, and what to do next."""
    origin = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    if isinstance(origin, sqlite3.Error):
        return _OF_SQLITE.get(getattr(origin, "sqlite_errorcode", 0) & 0xFF, OTHERWISE)
    if isinstance(origin, OSError):
        return _OF_FILES.get(origin.errno or 0, OTHERWISE)
    known = _OF_POSTGRESQL.get(str(getattr(origin, "sqlstate", "")))
    return known or (AWAY if is_away(error) else OTHERWISE)


def is_away(error: Exception) -> bool:
    """Whether a server cannot be reached, or goes down or comes up."""
    if not isinstance(error, sa.exc.OperationalError) or isinstance(error.orig, sqlite3.Error):
        return False
    state = getattr(error.orig, "sqlstate", None)
    # Without a state nobody has answered.
    return state is None or state.startswith(("08", "57P"))
