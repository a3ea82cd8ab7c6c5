"""One hub on a state directory: with two, everything would be done twice."""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

from hubspoke.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def owned(path: Path) -> AsyncIterator[None]:
    """Hold the file at *path* for as long as the block lasts; raise InvalidRequest when another hub holds it."""
    # A lock of SQLite's is one of the system's, and there on every system; it goes with the process.
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise InvalidRequest("another hub runs on this state directory; stop it first") from error
        yield
