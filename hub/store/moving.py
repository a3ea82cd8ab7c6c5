"""From a hub's own file into the database that hubs share: once, when nothing is kept there."""

from __future__ import annotations

import logging
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from hubspoke.errors import StoreFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

_VERSION: Final = sa.Table("state_schema", sa.MetaData(), sa.Column("number", sa.Integer, nullable=False))
_MOVED: Final = sa.Table("state_moved", sa.MetaData(), sa.Column("mark", sa.BigInteger, primary_key=True))

MARK_BELOW: Final = 2**31


def prepare(schema: int, metadata: sa.MetaData, file: Path, connection: sa.Connection) -> None:
    """Make the tables of *metadata* where there are none, and fill them with what *file* has, if that is there.

    Raise StoreFailed for what another version has made, and for a file with a mesh of its own beside a database that has one.
    """
    _VERSION.create(connection, checkfirst=True)
    found = connection.execute(sa.select(_VERSION.c.number)).scalar()
    if found is not None and found != schema:
        raise StoreFailed(
            f"the shared database is of schema {found} and this version reads schema {schema}; run the same version on "
            "all hubs"
        )
    metadata.create_all(connection)
    _MOVED.create(connection, checkfirst=True)
    if found is None:
        connection.execute(sa.insert(_VERSION).values(number=schema))
    if file.exists():
        _move(metadata, file, schema, connection)


def put_away(file: Path) -> None:
    """Name *file* so that nobody takes it for what counts, once what it has is kept in the database."""
    if file.exists():
        file.rename(away(file))


def away(file: Path) -> Path:
    """Say what a file is called that was moved."""
    return file.with_name(f"{file.name}.moved")


def _move(metadata: sa.MetaData, file: Path, schema: int, to: sa.Connection) -> None:
    with _opened(file) as source:
        tables = _filled(metadata, source)
        if not tables:
            return
        found = source.exec_driver_sql("PRAGMA user_version").scalar()
        if found != schema:
            raise StoreFailed(f"{file} is of schema {found}, which cannot be moved into the shared database")
        mark = _mark(source)
        if to.execute(sa.select(_MOVED.c.mark).filter_by(mark=mark)).scalar() is not None:
            return  # and the hub went down before it could put it away
        # Whoever opens an empty database first, another hub for instance, leaves no rows there.
        if _filled(metadata, to):
            raise StoreFailed(
                f"{file} holds nodes and keys, and so does the shared database; if those in the database count, rename the "
                "file, and if those in the file count, empty the database"
            )
        count = 0
        for table in tables:
            rows = source.execute(sa.select(table)).mappings().all()
            to.execute(sa.insert(table), [dict(row) for row in rows])
            count += len(rows)
        to.execute(sa.insert(_MOVED).values(mark=mark))
    log.info("state moved into the shared database", extra={"from": str(file), "rows": count})


@contextmanager
def _opened(file: Path) -> Iterator[sa.Connection]:
    engine = sa.create_engine(f"sqlite:///{file}", poolclass=sa.NullPool)  # so that nothing stays open
    with engine.connect() as source:
        yield source


def _filled(metadata: sa.MetaData, connection: sa.Connection) -> list[sa.Table]:
    """Give the tables that have rows."""
    there = sa.inspect(connection).get_table_names()
    known = (table for table in metadata.sorted_tables if table.name in there)
    return [table for table in known if connection.execute(sa.select(table).limit(1)).first() is not None]


def _mark(source: sa.Connection) -> int:
    """Give the number by which this file is known again; one that has none gets one."""
    if not (mark := int(source.exec_driver_sql("PRAGMA application_id").scalar_one())):
        mark = 1 + secrets.randbelow(MARK_BELOW - 1)
        source.exec_driver_sql(f"PRAGMA application_id={mark}")
    return mark
