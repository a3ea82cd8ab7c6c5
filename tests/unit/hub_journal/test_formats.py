"""K10: a journal that another version has written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from hub.journal import formats, tables
from hub.store.database import Database
from hubspoke.errors import StoreFailed

if TYPE_CHECKING:
    from pathlib import Path

NUMBER = "SELECT number FROM journal_format"


async def opened(path: Path) -> Database:
    return await Database.open_tables(path, formats.prepare)


async def done(path: Path, *statements: str) -> None:
    database = await Database.open_tables(path, tables.METADATA.create_all)
    for statement in statements:
        await database.run(lambda connection, each=statement: connection.execute(sa.text(each)))
    await database.close()


async def test_a_newer_journal_is_refused_and_left_as_it_is(tmp_path: Path):
    path = tmp_path / "delegations.db"
    await (await opened(path)).close()
    await done(path, "UPDATE journal_format SET number = 99")
    before = path.read_bytes()
    with pytest.raises(StoreFailed, match=r"format 99, of a newer version.*nothing was changed"):
        await opened(path)
    assert path.read_bytes() == before
    assert not path.with_name("delegations.db-wal").exists()


@pytest.mark.parametrize(
    "before", ["DROP TABLE IF EXISTS journal_format", "UPDATE journal_format SET number = 0"]
)
async def test_an_older_journal_is_this_versions_from_now_on(tmp_path: Path, before: str):
    path = tmp_path / "delegations.db"
    await (await opened(path)).close()
    await done(path, before)
    database = await opened(path)
    numbers = await database.run(lambda connection: connection.execute(sa.text(NUMBER)).scalars().all())
    await database.close()
    assert numbers == [formats.FORMAT]
