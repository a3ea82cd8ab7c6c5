"""The database in which DBOS keeps steps: how it is opened, and what becomes of its errors."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from hub.store import why
from hubspoke.errors import StoreFailed
from hubspoke.logs import Seldom

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger(__name__)
log.addFilter(Seldom())

CONNECTIONS_MAX: Final = 20
"""As many as DBOS would take by itself."""

WHY_CHARS: Final = 300


def connect(url: sa.URL) -> sa.Engine:
    """Give an engine that raises StoreFailed while the server is away, instead of what DBOS would wait for.

    It would wait in its threads, which are few, and ever longer: up to a minute and a half after the server is back.
    """
    engine = sa.create_engine(url, pool_size=CONNECTIONS_MAX, max_overflow=0, pool_pre_ping=True)
    sa.event.listen(engine, "handle_error", _give_up)
    return engine


def make_wal(path: Path) -> None:
    """Have the SQLite file at *path* keep a log that lets readers in, and halves the time of a write."""
    path.touch(mode=0o600)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


@contextmanager
def told() -> Iterator[None]:
    """Raise StoreFailed, and say in the log why, for whatever is in the way of the database."""
    try:
        yield
    except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError) as error:
        log.warning("steps not read or written", extra={"why": str(error.__cause__ or error)[:WHY_CHARS]})
        raise StoreFailed(why.told(error)) from error


def _give_up(context: sa.ExceptionContext) -> None:
    error = context.sqlalchemy_exception
    # After a ping that fails, it is the pool that tries again.
    if not context.is_pre_ping and error is not None and why.is_away(error):
        raise StoreFailed(why.AWAY) from error
