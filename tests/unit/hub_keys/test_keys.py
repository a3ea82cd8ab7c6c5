"""API keys, on a real database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hub.core.quota import Scope
from hub.keys import Keys
from hub.store.database import Database
from hub.store.keys import KeyStore, Used
from hubspoke.errors import AlreadyEnrolled, InvalidRequest, RateLimited, Unauthenticated, UnknownKey
from hubspoke.types import Priority, Usage
from tests.fakes.clock import MovableClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


DAY_S = 86_400


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "state.db")
    yield database
    await database.close()


async def some_keys(database: Database, clock: MovableClock | None = None) -> Keys:
    keys = Keys(KeyStore(database), clock or MovableClock())
    await keys.load()
    return keys


async def a_key(keys: Keys, name: str = "laptop", **given: object):
    plan = {
        "models": (),
        "requests_per_minute": None,
        "tokens_per_day": None,
        "priority": Priority.INTERACTIVE,
        "scopes": frozenset(),
    }
    return await keys.create(name, **(plan | given))


async def test_a_key_is_good_from_when_it_is_made_and_over_restarts(database: Database) -> None:
    keys = await some_keys(database)
    made = await a_key(keys, models=("llama3*",), scopes=frozenset({Scope.MODELS_WRITE}))
    assert keys.authenticate(made.secret) == made.key
    assert (await some_keys(database)).authenticate(made.secret) == made.key
    assert made.secret not in repr(made)


async def test_nothing_but_the_whole_key_is_good(database: Database) -> None:
    keys = await some_keys(database)
    made = await a_key(keys)
    other = await a_key(keys, "other")
    prefix, key_id, secret = made.secret.split("_", 2)
    for shown in (
        "",
        "hsk",
        key_id,
        secret,
        f"hsk_{key_id}_",
        f"hsk_{key_id}_{secret[:-1]}",
        f"hsk_{other.key.id}_{secret}",
        f"xyz_{key_id}_{secret}",
        made.secret + "x",
        "\x00",
        "ä" * 100,
    ):
        with pytest.raises(Unauthenticated):
            keys.authenticate(shown)
    assert prefix == "hsk"


async def test_a_key_that_was_revoked_is_good_no_more(database: Database) -> None:
    keys = await some_keys(database)
    made = await a_key(keys)
    ended = await keys.revoke("laptop")
    assert (ended.id, ended.revoked_at is not None) == (made.key.id, True)
    for after in (keys, await some_keys(database)):
        with pytest.raises(Unauthenticated):
            after.authenticate(made.secret)
        with pytest.raises(UnknownKey):
            await after.revoke("laptop")
    assert (await a_key(keys)).key.name == "laptop"


async def test_two_good_keys_never_share_a_name(database: Database) -> None:
    keys = await some_keys(database)
    await a_key(keys)
    with pytest.raises(AlreadyEnrolled):
        await a_key(keys)


@pytest.mark.parametrize(
    "plan",
    [{"name": ""}, {"name": "a\nb"}, {"name": "x" * 65}, {"models": ("",)}, {"requests_per_minute": 0}],
)
async def test_a_key_that_makes_no_sense_is_refused(database: Database, plan: dict[str, object]) -> None:
    keys = await some_keys(database)
    with pytest.raises(InvalidRequest):
        await a_key(keys, **({"name": "laptop"} | plan))


async def test_what_was_used_is_kept_by_key_model_and_day(database: Database) -> None:
    clock = MovableClock()
    clock.set_day(DAY_S / 2 - clock.now().timestamp() % DAY_S)  # noon: no other day begins meanwhile
    keys = await some_keys(database, clock)
    made = await a_key(keys, tokens_per_day=100)
    for _ in range(2):
        keys.admit(made.key)
        keys.charge(made.key, "tiny", Usage(prompt_tokens=3, output_tokens=4))
    await keys.save()
    keys.charge(made.key, "tiny", Usage(prompt_tokens=1, output_tokens=0))
    today = int(clock.now().timestamp() // DAY_S)
    assert await keys.used(days=1) == (Used(made.key.id, "tiny", today, 3, 7, 8),)
    again = await some_keys(database, clock)
    assert again.admit(made.key).tokens == 100 - 15


async def test_a_rate_is_kept(database: Database) -> None:
    clock = MovableClock()
    keys = await some_keys(database, clock)
    made = await a_key(keys, requests_per_minute=2)
    assert [keys.admit(made.key).requests for _ in range(2)] == [1, 0]
    with pytest.raises(RateLimited):
        keys.admit(made.key)
    clock.move(30)
    assert keys.admit(made.key).requests == 0
