"""One hub on a state directory: with two, everything would be done twice."""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

from hubspoke.errors import InvalidRequest, MeshError, StoreFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def owned(path: Path) -> AsyncIterator[None]:
    """Hold the file at *path* for as long as the block lasts.

    Raise InvalidRequest when another hub holds it, StoreFailed where it cannot be made or locked.
    """
    try:
        lock = sqlite3.connect(path, timeout=0, isolation_level=None)
    except sqlite3.OperationalError as error:
        raise _refusal(path, error) from error
    with closing(lock):
        try:
            # A lock of SQLite's is one of the system's, and there on every system; it goes with the process.
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise _refusal(path, error) from error
        yield


def _refusal(path: Path, error: sqlite3.OperationalError) -> MeshError:
    if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
        return InvalidRequest("another hub runs on this state directory; stop it first")
    return StoreFailed(
        f"{path} cannot be locked ({error}); let the user that the hub runs as write in that directory, and see that its "
        "disk has room"
    )
