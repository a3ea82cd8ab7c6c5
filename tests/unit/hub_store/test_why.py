"""K4: whoever asks a hub whose database takes nothing is told what is the matter, and what to do next."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from hub.store import why
from hub.store.database import Database
from hubspoke.errors import StoreFailed
from tests.fakes.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TEXTS = sa.Table("texts", sa.MetaData(), sa.Column("text", sa.String))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open_tables(tmp_path / "texts.db", TEXTS.metadata.create_all)
    yield database
    await database.close()


async def keep(database: Database, text: str) -> None:
    await database.run(lambda connection: connection.execute(sa.insert(TEXTS).values(text=text)))


@pytest.mark.parametrize(
    ("trouble", "cure", "told"),
    [
        ("PRAGMA max_page_count=1", "PRAGMA max_page_count=1000", "full, and nothing was kept; make room"),
        ("PRAGMA query_only=1", "PRAGMA query_only=0", "read-only, and nothing was kept; let the hub write"),
    ],
    ids=["full", "read-only"],
)
async def test_what_a_file_does_not_take_is_refused_and_taken_later(
    database: Database, trouble: str, cure: str, told: str
):
    await database.run(lambda connection: connection.exec_driver_sql(trouble))
    with pytest.raises(StoreFailed, match=told):
        await keep(database, "x" * 100_000)
    await database.run(lambda connection: connection.exec_driver_sql(cure))
    await keep(database, "x" * 100_000)
    count = sa.select(sa.func.count()).select_from(TEXTS)
    assert await database.run(lambda connection: connection.execute(count).scalar()) == 1


async def test_a_server_that_is_away_is_named_as_such():
    (port,) = free_ports(1)
    url = sa.make_url(f"postgresql+psycopg://hubspoke@127.0.0.1:{port}/hubspoke")
    with pytest.raises(StoreFailed, match=r"cannot be reached.*ask again, the same, when it is back"):
        await Database.connect(url, TEXTS.metadata.create_all)


async def test_what_is_no_trouble_of_the_disk_is_left_to_the_log(database: Database):
    with pytest.raises(StoreFailed, match="its log says why"):
        await database.run(lambda connection: connection.exec_driver_sql("SELECT nothing"))


@pytest.mark.parametrize(("number", "told"), [(errno.ENOSPC, why.FULL), (errno.EROFS, why.FAILING)])
def test_a_disk_that_takes_no_file_is_told_the_same_way(number: int, told: str):
    assert why.told(OSError(number, "")) == told
