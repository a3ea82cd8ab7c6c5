"""One owner for each executor: a name that two hubs worked under would have everything done twice."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import sqlalchemy as sa

from hubspoke.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

T = TypeVar("T")

LOCK_CLASS: Final = 7443
"""Tells our advisory locks from those of others in the same database."""

_METADATA: Final = sa.MetaData()
_members: Final = sa.Table(
    "delegation_executors", _METADATA, sa.Column("executor", sa.String, primary_key=True)
)


class Owner(Protocol):
    """Holds an executor's name for as long as the process lives."""

    async def dead(self) -> tuple[str, ...]:
        """Give the executors that nobody holds any more. Each is given to one hub, which takes over what is theirs."""
        ...

    async def buried(self, executor: str) -> None:
        """Forget a dead executor, whose work has an heir."""
        ...

    async def close(self) -> None:
        """Let go of the name."""
        ...


class FileOwner:
    """Holds a file. There are no others beside it who could be dead."""

    def __init__(self, path: Path) -> None:
        # A lock of SQLite's is one of the system's, and there on every system; it goes with the process.
        self._lock = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            self._lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            self._lock.close()
            raise InvalidRequest("another hub runs on this state directory; stop it first") from error

    async def dead(self) -> tuple[str, ...]:
        """Give nobody."""
        return ()

    async def buried(self, executor: str) -> None:
        """Do nothing: nobody was dead."""

    async def close(self) -> None:
        """Let go of the file."""
        self._lock.close()


class ServerOwner:
    """Holds an advisory lock of PostgreSQL, which goes with the connection."""

    def __init__(self, engine: sa.Engine, executor: str) -> None:
        self._engine = engine
        self._executor = executor
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="owner")
        self._connection: sa.Connection | None = None

    async def hold(self) -> None:
        """Take the name; raise InvalidRequest when another hub has it."""
        if not await self._in_thread(self._try_to_hold):
            raise InvalidRequest(
                f"another hub works as {self._executor!r} in the same database; give this one a name of its own"
            )

    async def dead(self) -> tuple[str, ...]:
        """Give those whose lock is free, and hold it: nobody else gets them until `buried`."""
        try:
            return await self._in_thread(self._find_dead)
        except sa.exc.SQLAlchemyError as error:
            log.warning("journal not reached", extra={"why": type(error).__name__})
            await self._in_thread(self._drop)
            return ()

    async def buried(self, executor: str) -> None:
        """Forget a dead executor, and let go of its lock."""
        await self._in_thread(lambda: self._bury(executor))

    async def close(self) -> None:
        """Let go of the name."""

        def let_go() -> None:
            with suppress(sa.exc.SQLAlchemyError):  # it may be gone with its server
                if self._connection is not None:
                    # At once: the end of a connection comes to the server's ears some time later.
                    self._connection.execute(sa.select(sa.func.pg_advisory_unlock_all()))
            self._drop()
            self._engine.dispose()

        await self._in_thread(let_go)
        self._thread.shutdown()

    def _drop(self) -> None:
        """Let go of a connection that is of no use any more, and with it of the lock."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sa.exc.SQLAlchemyError):
                connection.invalidate()
            connection.close()

    def _try_to_hold(self) -> bool:
        _METADATA.create_all(self._engine)
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        if not _lock(connection, self._executor):
            connection.close()
            return False
        self._connection = connection
        if connection.execute(sa.select(_members).filter_by(executor=self._executor)).first() is None:
            connection.execute(sa.insert(_members).values(executor=self._executor))
        return True

    def _find_dead(self) -> tuple[str, ...]:
        if self._connection is None and not self._try_to_hold():
            return ()  # somebody takes over what was ours, and lets go of the lock when that is done
        connection = self._connection
        if connection is None:
            return ()
        others = sa.select(_members.c.executor).where(_members.c.executor != self._executor)
        return tuple(name for name in connection.execute(others).scalars().all() if _lock(connection, name))

    def _bury(self, executor: str) -> None:
        if self._connection is not None:
            self._connection.execute(sa.delete(_members).filter_by(executor=executor))
            self._connection.execute(
                sa.select(sa.func.pg_advisory_unlock(LOCK_CLASS, sa.func.hashtext(executor)))
            )

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _lock(connection: sa.Connection, executor: str) -> bool:
    query = sa.select(sa.func.pg_try_advisory_lock(LOCK_CLASS, sa.func.hashtext(executor)))
    return bool(connection.execute(query).scalar())
