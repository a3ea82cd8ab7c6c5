"""Which format what is kept of delegations has: an older one goes on, and a newer one is left as it is."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from hub.journal import tables
from hubspoke.errors import StoreFailed

FORMAT: Final = 1
"""Of tables, events and steps. Count it up when a delegation that was begun before could not go on step by step.

Before that, `python -m tests.chaos.leave_journal` leaves a journal of this format to the tests of the next one."""

_FORMAT: Final = sa.Table("journal_format", sa.MetaData(), sa.Column("number", sa.Integer, nullable=False))


def prepare(connection: sa.Connection) -> None:
    """Make the tables that are not there yet; raise StoreFailed, and change nothing, for those of a newer version."""
    is_numbered = sa.inspect(connection).has_table(_FORMAT.name)
    found = connection.execute(sa.select(_FORMAT.c.number)).scalar() if is_numbered else None
    if found is not None and found > FORMAT:
        raise StoreFailed(
            f"the delegations here are of format {found}, of a newer version, and this one reads format {FORMAT}; start "
            "the newer version again: nothing was changed"
        )
    tables.METADATA.create_all(connection)
    _FORMAT.create(connection, checkfirst=True)
    if found is None:
        connection.execute(sa.insert(_FORMAT).values(number=FORMAT))
    elif found < FORMAT:
        connection.execute(sa.update(_FORMAT).values(number=FORMAT))
