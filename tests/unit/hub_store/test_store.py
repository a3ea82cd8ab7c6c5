"""The hub's database, on a real SQLite file: what was measured and pinned, and what it makes of another version's."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from hub.core.types import Speed
from hub.store.database import Database
from hub.store.mesh import Store
from hubspoke.errors import StoreFailed
from hubspoke.types import ModelKey, SpokeId

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "state.db")
    yield database
    await database.close()


async def test_what_was_measured_outlives_the_process(database: Database, tmp_path: Path) -> None:
    store = Store(database)
    speed = Speed(decode_tokens_per_s=42.0, load_s=3.0)
    await store.save_speeds(
        {(SpokeId("den"), ModelKey("k")): Speed(1.0), (SpokeId("attic"), ModelKey("k")): speed}
    )
    await store.save_speeds({(SpokeId("den"), ModelKey("k")): speed})
    again = await Database.open(tmp_path / "state.db")
    try:
        assert await Store(again).speeds(SpokeId("den")) == {"k": speed}
    finally:
        await again.close()


async def test_a_pin_is_kept_until_it_is_taken_back(database: Database) -> None:
    store = Store(database)
    den, key = SpokeId("den"), ModelKey("sha256:ab")
    for _ in range(2):
        await store.pin(den, key, pinned=True)
    await store.pin(SpokeId("attic"), key, pinned=True)
    await store.pin(SpokeId("attic"), key, pinned=False)
    assert await store.pins(den) == {key}
    assert await store.pins(SpokeId("attic")) == frozenset()


@pytest.mark.parametrize(
    ("schema", "told"), [(0, "join again with a new token"), (99, "newer version again: nothing was changed")]
)
async def test_a_database_of_another_version_is_told_apart_in_one_sentence(
    tmp_path: Path, schema: int, told: str
) -> None:
    with sqlite3.connect(tmp_path / "state.db") as other:
        other.execute("CREATE TABLE nodes (name VARCHAR)")
        other.execute(f"PRAGMA user_version={schema}")
    other.close()
    with pytest.raises(StoreFailed, match=f"schema {schema}.*{told}"):
        await Database.open(tmp_path / "state.db")
