"""The hub's database, on a real SQLite file."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from hub.core.types import Speed
from hub.store import Certified, Store
from hubspoke.errors import AlreadyEnrolled, Unauthenticated
from hubspoke.types import ModelKey, SpokeId
from pki.identity import Identity, NodeName, Role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

DEN = Identity(Role.SPOKE, NodeName("den"))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "state.db")
    yield store
    await store.close()


def certified(
    identity: Identity = DEN, serial: str = "01", key: bytes = b"key", ends: float = 1_000
) -> Certified:
    return Certified(identity, serial, key, b"chain " + serial.encode(), ends)


async def a_token(store: Store, identity: Identity = DEN, token: str = "t1") -> None:
    await store.add_token(token, b"hash", identity, now=0, expires_at=100)


async def redeem(
    store: Store, *, token: str = "t1", secret: bytes = b"hash", key: bytes = b"key", now: float = 1
) -> Certified:
    return await store.redeem(token, secret, key, now=now, certify=lambda who: certified(who, key=key))


async def test_a_token_is_good_once_however_many_try_at_once(store: Store) -> None:
    await a_token(store)
    tries = [redeem(store, key=b"key %d" % number) for number in range(30)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(result, Certified) for result in results) == 1
    assert sum(isinstance(result, Unauthenticated) for result in results) == 29
    assert await store.nodes() == {"den": Role.SPOKE}


@pytest.mark.parametrize("wrong", [{"token": "t2"}, {"secret": b"guess"}, {"now": 100.0}])
async def test_a_token_that_is_unknown_over_or_guessed_is_refused_and_stays_good(
    store: Store, wrong: dict[str, object]
) -> None:
    await a_token(store)
    with pytest.raises(Unauthenticated, match="hubspoke token create"):
        await redeem(store, **wrong)  # type: ignore[arg-type]
    assert (await redeem(store)).identity == DEN


async def test_a_key_that_has_a_certificate_gets_no_second_one(store: Store) -> None:
    await a_token(store)
    await redeem(store)
    await a_token(store, Identity(Role.SPOKE, NodeName("attic")), "t2")
    with pytest.raises(AlreadyEnrolled, match="new key"):
        await redeem(store, token="t2")
    assert (await redeem(store, token="t2", key=b"fresh")).identity.name == "attic"


async def test_a_name_is_free_again_once_its_certificate_has_ended(store: Store) -> None:
    await a_token(store)
    await redeem(store)
    with pytest.raises(AlreadyEnrolled, match="another name"):
        await store.add_token("t2", b"hash", DEN, now=999, expires_at=2_000)
    await store.add_token("t2", b"hash", DEN, now=1_001, expires_at=2_000)
    assert (await redeem(store, token="t2", key=b"fresh", now=1_002)).key_digest == b"fresh"


async def test_what_is_certified_and_not_stored_does_not_spend_the_token(store: Store) -> None:
    await a_token(store)

    def fail(_identity: Identity) -> Certified:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await store.redeem("t1", b"hash", b"key", now=1, certify=fail)
    assert (await redeem(store)).identity == DEN


async def test_renewal_wants_the_newest_certificate_and_repeats_itself_for_the_same_key(store: Store) -> None:
    await a_token(store)
    await redeem(store)
    second = certified(serial="02", key=b"second")
    assert await store.renew(DEN, "01", b"second", certify=lambda _: second) == second
    assert await store.renew(DEN, "01", b"second", certify=lambda _: certified(serial="03")) == second
    with pytest.raises(Unauthenticated, match="newest"):
        await store.renew(DEN, "01", b"thief", certify=lambda _: certified(serial="03"))


async def test_everything_outlives_the_process(store: Store, tmp_path: Path) -> None:
    speed = Speed(decode_tokens_per_s=42.0, load_s=3.0)
    await store.adopt(certified())
    await store.adopt(certified(serial="ff"))  # known already: nothing changes
    await store.save_speeds(
        {(SpokeId("den"), ModelKey("k")): Speed(1.0), (SpokeId("attic"), ModelKey("k")): speed}
    )
    await store.save_speeds({(SpokeId("den"), ModelKey("k")): speed})
    again = await Store.open(tmp_path / "state.db")
    try:
        assert await again.nodes() == {"den": Role.SPOKE}
        assert await again.speeds(SpokeId("den")) == {"k": speed}
        assert (await again.renew(DEN, "01", b"key", certify=lambda _: certified())).serial == "01"
    finally:
        await again.close()


async def test_an_admin_can_be_certified_anew(store: Store) -> None:
    await store.adopt(certified())
    await store.reissue(certified(serial="0a", key=b"other"))
    assert (await store.renew(DEN, "", b"other", certify=lambda _: certified())).serial == "0a"


async def test_a_pin_is_kept_until_it_is_taken_back(store: Store) -> None:
    den, key = SpokeId("den"), ModelKey("sha256:ab")
    for _ in range(2):
        await store.pin(den, key, pinned=True)
    await store.pin(SpokeId("attic"), key, pinned=True)
    await store.pin(SpokeId("attic"), key, pinned=False)
    assert await store.pins(den) == {key}
    assert await store.pins(SpokeId("attic")) == frozenset()
