"""From a hub's own file into the database that hubs share: once, when that is empty."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from hubspoke.errors import StoreFailed

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

_VERSION: Final = sa.Table("state_schema", sa.MetaData(), sa.Column("number", sa.Integer, nullable=False))


def prepare(schema: int, metadata: sa.MetaData, file: Path, connection: sa.Connection) -> None:
    """Make the tables of *metadata* where there are none, and fill them with what *file* has, if that is there.

    Raise StoreFailed for what another version has made.
    """
    _VERSION.create(connection, checkfirst=True)
    found = connection.execute(sa.select(_VERSION.c.number)).scalar()
    if found is not None and found != schema:
        raise StoreFailed(
            f"the shared database is of schema {found} and this version reads schema {schema}; run the same version on "
            "all hubs"
        )
    metadata.create_all(connection)
    if found is None:
        connection.execute(sa.insert(_VERSION).values(number=schema))
        if file.exists():
            _copy(metadata, file, schema, connection)


def _copy(metadata: sa.MetaData, file: Path, schema: int, to: sa.Connection) -> None:
    count = 0
    engine = sa.create_engine(f"sqlite:///{file}", poolclass=sa.NullPool)  # so that nothing stays open
    with engine.connect() as source:
        found = source.exec_driver_sql("PRAGMA user_version").scalar()
        if found != schema:
            raise StoreFailed(f"{file} is of schema {found}, which cannot be moved into the shared database")
        there = sa.inspect(source).get_table_names()
        for table in metadata.sorted_tables:
            if table.name in there and (rows := source.execute(sa.select(table)).mappings().all()):
                to.execute(sa.insert(table), [dict(row) for row in rows])
                count += len(rows)
    log.info("state moved into the shared database", extra={"from": str(file), "rows": count})
