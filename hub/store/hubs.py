"""The hubs that share a PostgreSQL database: their names, where they are, and which one has the lead.

Advisory locks say it: one for each name, one for the lead. They go with the connection that took them, so those of a hub that
dies are free at once.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from hub.store.server import hang_up

LOCK_CLASS: Final = 7443
"""Tells our advisory locks from those of others in the same database."""

SILENT_S: Final = 8.0
"""A hub that has not beaten for so long is taken for gone."""

FORGOTTEN_S: Final = 30 * 86_400.0
"""A hub that was not there for so long will not come back."""

# Locks that no hub can have for its name: names have no spaces.
STATE: Final = "state of the mesh"
_LEAD: Final = "lead of the mesh"
_TABLES: Final = "tables of the mesh"

# The number of a lock has a sign in one place, and none in the other.
_END_LEADER: Final = sa.text(
    """
    SELECT pg_terminate_backend(pid) FROM pg_locks
    WHERE locktype = 'advisory' AND pid <> pg_backend_pid()
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND classid::bigint = :class AND objid::bigint = (hashtext(:name)::bigint & 4294967295)
    """
)

_METADATA: Final = sa.MetaData()
_HUBS: Final = sa.Table(
    "hubs",
    _METADATA,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("mesh", sa.ARRAY(sa.String), nullable=False),
    sa.Column("enrol", sa.ARRAY(sa.String), nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("leads", sa.Boolean, nullable=False),
)


@dataclass(frozen=True, slots=True)
class HubRow:
    """A hub as it has told of itself *silent_s* seconds ago: the addresses of its ports, and the generation of its authorities."""

    name: str
    mesh: tuple[str, ...] = ()
    enrol: tuple[str, ...] = ()
    generation: int = 0
    leads: bool = False
    silent_s: float = 0.0

    @property
    def is_there(self) -> bool:
        """Whether it runs, as far as anybody knows."""
        return self.silent_s < SILENT_S

    @property
    def may_come(self) -> bool:
        """Whether it runs, or may be started again."""
        return self.silent_s < FORGOTTEN_S


class NameTaken(Exception):
    """Another process has this hub's name."""


class Seat:
    """A hub's connection to the others, made when it is needed. Nothing here is asynchronous.

    `take`, `lead`, `beat` and `end_leader` raise SQLAlchemyError when the server is away, and NameTaken.
    """

    def __init__(self, url: sa.URL, name: str) -> None:
        self._engine = sa.create_engine(url, poolclass=sa.NullPool)
        self._name = name
        self._connection: sa.Connection | None = None
        self._leads = False

    def take(self) -> None:
        """Take the name."""
        if self._connection is not None:
            return
        with ExitStack() as closing:
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            closing.callback(connection.close)
            connection.exec_driver_sql(
                "SET synchronous_commit = off"
            )  # a beat need not outlive a loss of power
            if not connection.execute(_try_lock(self._name)).scalar():
                raise NameTaken
            _make_tables(connection)
            closing.pop_all()
        self._connection = connection

    def lead(self) -> bool:
        """Take the lead unless this hub has it, and say whether it has."""
        open_ = self._open()
        self._leads = self._leads or bool(open_.execute(_try_lock(_LEAD)).scalar())
        return self._leads

    def give_up_lead(self) -> None:
        """Let go of the lead, if this hub has it or believes so."""
        if self._leads:
            self.drop()

    def beat(self, own: HubRow) -> tuple[HubRow, ...]:
        """Say that this hub is there, and give the others by name."""
        open_, now = self._open(), sa.func.clock_timestamp()
        row = {
            "mesh": list(own.mesh),
            "enrol": list(own.enrol),
            "generation": own.generation,
            "seen_at": now,
            "leads": self._leads,
        }
        if open_.execute(sa.update(_HUBS).filter_by(name=own.name).values(**row)).rowcount == 0:
            open_.execute(sa.insert(_HUBS).values(name=own.name, **row))
        silent_s = sa.extract("epoch", now - _HUBS.c.seen_at).label("silent_s")
        others = sa.select(_HUBS, silent_s).where(_HUBS.c.name != own.name).order_by(_HUBS.c.name)
        return tuple(_row(each) for each in open_.execute(others).all())

    def end_leader(self) -> None:
        """End the connection of whoever has the lead: it hangs, and will find out when it does not any more."""
        self._open().execute(_END_LEADER, {"class": LOCK_CLASS, "name": _LEAD})

    def leave(self) -> None:
        """Let go of the lead and the name, and close."""
        with suppress(sa.exc.SQLAlchemyError):  # it may be gone with its server
            if self._connection is not None:
                # At once: the end of a connection comes to the server's ears some time later.
                self._connection.execute(sa.select(sa.func.pg_advisory_unlock_all()))
        self.drop()
        self._engine.dispose()

    def hang_up(self) -> None:
        """End the wait for a server that does not answer, from another thread."""
        if self._connection is not None:
            hang_up(self._connection.connection.dbapi_connection)

    def drop(self) -> None:
        """Let go of a connection that is of no use any more, and with it of the locks."""
        connection, self._connection, self._leads = self._connection, None, False
        if connection is not None:
            with suppress(sa.exc.SQLAlchemyError):
                connection.invalidate()
            connection.close()

    def _open(self) -> sa.Connection:
        self.take()
        assert self._connection is not None  # noqa: S101  # or `take` has raised
        return self._connection


def lock_for_this_transaction(name: str) -> sa.Select[tuple[None]]:
    """Give what waits until nobody else holds the lock *name*, and holds it to the end of the transaction."""
    return sa.select(sa.func.pg_advisory_xact_lock(LOCK_CLASS, sa.func.hashtext(name)))


def _try_lock(name: str) -> sa.Select[tuple[bool]]:
    return sa.select(sa.func.pg_try_advisory_lock(LOCK_CLASS, sa.func.hashtext(name)))


def _make_tables(connection: sa.Connection) -> None:
    # Of two that make a table at once, one would fail.
    lock = (LOCK_CLASS, sa.func.hashtext(_TABLES))
    connection.execute(sa.select(sa.func.pg_advisory_lock(*lock)))
    try:
        _METADATA.create_all(connection)
    finally:
        connection.execute(sa.select(sa.func.pg_advisory_unlock(*lock)))


def _row(row: sa.Row[tuple[object, ...]]) -> HubRow:
    return HubRow(
        name=row.name,
        mesh=tuple(row.mesh),
        enrol=tuple(row.enrol),
        generation=row.generation,
        leads=row.leads,
        silent_s=float(row.silent_s),
    )
