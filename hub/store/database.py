"""The hub's database: SQLAlchemy Core, in a thread of its own. Every call is one transaction."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final, Self, TypeVar

import sqlalchemy as sa

from hub.store import moving, why
from hub.store.hubs import STATE, lock_for_this_transaction
from hub.store.server import CLOSE_S, hang_up, with_settings
from hubspoke.errors import StoreFailed
from hubspoke.logs import Seldom

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)
log.addFilter(Seldom())

LOCK_TIMEOUT_S: Final = 5.0
"""How long a write waits for another process that has the database open, or for another hub."""

SCHEMA: Final = 1
"""Counts the changes that a database of before does not go with. New tables are none: they are made where they lack."""

METADATA: Final = sa.MetaData()
"""Every table; the modules beside this one describe them."""

T = TypeVar("T")


class Database:
    """One SQLite file, or a PostgreSQL database, and the thread that works on it."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        # SQLite has one writer; one thread keeps the order of writes and the event loop free.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._raw: object = None
        sa.event.listen(engine, "connect", self._connected)

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open the database at *path*, and make what is not there yet; raise StoreFailed for another version's."""
        return await cls._made(_engine_of(path), _prepare)

    @classmethod
    async def share(cls, url: sa.URL, file: Path) -> Self:
        """Connect to the server that hubs share, and make what is not there yet, out of what *file* has if there is one.

        As in a file, each transaction is alone: what decides who gets in reads before it writes.
        """
        limited = with_settings(url, {"lock_timeout": int(LOCK_TIMEOUT_S * 1_000)})
        engine = sa.create_engine(limited, pool_pre_ping=True)
        sa.event.listen(engine, "begin", _be_alone)
        shared = await cls._made(engine, partial(moving.prepare, SCHEMA, METADATA, file))
        await asyncio.to_thread(moving.put_away, file)
        return shared

    @classmethod
    async def open_tables(cls, path: Path, prepare: Callable[[sa.Connection], None]) -> Self:
        """Open the database at *path* with tables of its own, which *prepare* makes where they are not there yet."""
        return await cls._made(_engine_of(path), prepare)

    @classmethod
    async def connect(cls, url: sa.URL, prepare: Callable[[sa.Connection], None]) -> Self:
        """Connect to a server with tables as those of `open_tables`."""
        # A connection that broke while it lay idle is found out before it is used.
        return await cls._made(sa.create_engine(url, pool_pre_ping=True), prepare)

    @classmethod
    async def _made(cls, engine: sa.Engine, prepare: Callable[[sa.Connection], None]) -> Self:
        database = cls(engine)
        try:
            await database.run(prepare)
        except BaseException:
            await database.close()
            raise
        return database

    async def close(self) -> None:
        """Finish what was begun and let go of the file, or of a server, which has `CLOSE_S` for it."""
        loop = asyncio.get_running_loop()
        late = loop.call_later(CLOSE_S, lambda: hang_up(self._raw))
        try:
            await loop.run_in_executor(self._thread, self._engine.dispose)
        finally:
            late.cancel()
        self._thread.shutdown()

    def _connected(self, raw: object, _record: object) -> None:
        self._raw = raw

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """Do *work* in one transaction; raise StoreFailed when the database cannot."""

        def transaction() -> T:
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except sa.exc.SQLAlchemyError as error:
                log.warning("store failed", extra={"why": str(error.__cause__ or error)})
                raise StoreFailed(why.told(error)) from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, transaction)


def _prepare(connection: sa.Connection) -> None:
    is_new = not sa.inspect(connection).get_table_names()
    found = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if not is_new and found > SCHEMA:
        raise StoreFailed(
            f"state.db is of schema {found}, of a newer version, and this one reads schema {SCHEMA}; start the newer version "
            "again: nothing was changed"
        )
    if not is_new and found != SCHEMA:
        raise StoreFailed(
            f"state.db is of schema {found} and this version reads schema {SCHEMA}; move it away, and let every node "
            "join again with a new token"
        )
    METADATA.create_all(connection)
    connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA}")


def _be_alone(connection: sa.Connection) -> None:
    connection.execute(lock_for_this_transaction(STATE))


def _engine_of(path: Path) -> sa.Engine:
    path.touch(mode=0o600)  # SQLite would make it readable for others
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": LOCK_TIMEOUT_S})
    sa.event.listen(engine, "connect", _set_pragmas)
    return engine


def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    # WAL lets readers in while one writes; FULL keeps a joined node joined when the power fails.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
