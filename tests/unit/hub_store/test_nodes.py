"""Nodes and tokens in the hub's database, in a real SQLite file and on a real PostgreSQL server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from hub.config import DatabaseConfig
from hub.store.nodes import OLDER, UNRECORDED, Asked, Certified, NodeRecord, NodeStore
from hub.store.state import open_state
from hub.store.tokens import WAITING_S_MAX, RanOut, Shown, TokenStore, Verdict, Waiting
from hubspoke.errors import (
    AlreadyEnrolled,
    InvalidRequest,
    PermissionDenied,
    Unauthenticated,
    UnknownNode,
)
from hubspoke.types import NodeState
from pki.identity import Identity, NodeName, Role
from tests.fakes.postgres import postgres, tool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from hub.store.database import Database
    from tests.fakes.postgres import Postgres

DEN = Identity(Role.SPOKE, NodeName("den"))


class Stores:
    """Both stores, and what a test does with them in a line."""

    def __init__(self, database: Database) -> None:
        self.nodes = NodeStore(database)
        self.tokens = TokenStore(database)

    async def token(self, token: str = "t1", *, now: float = 0, approval: bool = False) -> None:
        ends = now + 100
        await self.tokens.add(token, b"hash", DEN, needs_approval=approval, now=now, expires_at=ends)

    async def redeem(
        self, key: bytes = b"key", *, token: str = "t1", secret: bytes = b"hash", now: float = 1
    ) -> NodeRecord | Waiting:
        shown = Shown(token, secret, certified(key).key_digest, now)
        return await self.tokens.redeem(shown, certify=lambda who: certified(key, who))

    async def renew(self, key: bytes, *, serial: str, now: float = 2, held: int = 0) -> NodeRecord:
        asked = Asked(serial, certified(key).key_digest, held, now)
        return await self.nodes.renew(DEN, asked, certify=lambda who: certified(key, who))

    async def node(self) -> NodeRecord:
        (node,) = await self.nodes.nodes()
        return node


def certified(key: bytes, identity: Identity = DEN, ends: float = 1_000) -> Certified:
    """A certificate whose serial is that of its key, so that a test names both at once."""
    return Certified(identity, serial_of(key), key, b"chain " + key, ends)


def serial_of(key: bytes) -> str:
    return f"serial-{key.decode()}"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    if tool("initdb") is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with postgres() as running:
        yield running


@pytest.fixture(params=["file", "server"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    is_shared = request.param == "server"
    told = DatabaseConfig(url=request.getfixturevalue("server").database() if is_shared else "")
    async with open_state(told, tmp_path / "state.db") as database:
        yield Stores(database)


async def test_a_token_is_good_once_however_many_try_at_once(stores: Stores) -> None:
    await stores.token()
    tries = [stores.redeem(b"key %d" % number) for number in range(30)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(result, NodeRecord) for result in results) == 1
    assert sum(isinstance(result, Unauthenticated) for result in results) == 29
    assert (await stores.node()).identity == DEN


@pytest.mark.parametrize("wrong", [{"token": "t2"}, {"secret": b"guess"}, {"now": 100.0}])
async def test_a_token_that_is_unknown_over_or_guessed_is_refused_and_stays_good(
    stores: Stores, wrong: dict[str, object]
) -> None:
    await stores.token()
    with pytest.raises(Unauthenticated, match="hubspoke token create"):
        await stores.redeem(**wrong)  # type: ignore[arg-type]
    assert isinstance(await stores.redeem(), NodeRecord)


async def test_a_token_that_ran_out_unused_is_told_of_once_and_one_that_was_used_never(
    stores: Stores,
) -> None:
    await stores.token("used")
    await stores.redeem(token="used")
    await stores.nodes.revoke("den", 2.0)
    await stores.token("late", now=3)
    assert await stores.tokens.end_unused(102.9) == ()
    assert await stores.tokens.end_unused(103.0) == (RanOut("late", DEN, 103.0),)
    assert await stores.tokens.end_unused(1e9) == ()
    with pytest.raises(Unauthenticated, match="hubspoke token create"):
        await stores.redeem(b"other", token="late", now=104.0)


async def test_what_ran_out_long_ago_while_no_hub_was_there_is_still_told_of(stores: Stores) -> None:
    await stores.token()
    await stores.tokens.purge(1e9)
    assert [one.token for one in await stores.tokens.end_unused(1e9)] == ["t1"]


async def test_the_same_token_and_key_get_the_same_certificate_again(stores: Stores) -> None:
    await stores.token()
    assert await stores.redeem() == await stores.redeem(now=2)


async def test_a_key_that_was_ever_seen_gets_no_second_certificate(stores: Stores) -> None:
    await stores.token()
    await stores.redeem(b"first")
    await stores.renew(b"second", serial=serial_of(b"first"))
    await stores.nodes.revoke("den", 3)
    await stores.token("t2", now=4)
    for old in (b"first", b"second"):
        with pytest.raises(AlreadyEnrolled, match="new key"):
            await stores.redeem(old, token="t2", now=5)
    assert isinstance(await stores.redeem(b"third", token="t2", now=5), NodeRecord)


async def test_a_name_is_free_again_once_its_certificate_has_ended(stores: Stores) -> None:
    await stores.token()
    await stores.redeem()
    with pytest.raises(AlreadyEnrolled, match="another name"):
        await stores.token("t2", now=999)
    await stores.token("t2", now=1_001)
    await stores.redeem(b"fresh", token="t2", now=1_002)
    assert (await stores.node()).serial == serial_of(b"fresh")


async def test_what_is_certified_and_not_stored_does_not_spend_the_token(stores: Stores) -> None:
    await stores.token()

    def fail(_identity: Identity) -> Certified:
        raise OSError("disk full")

    shown = Shown("t1", b"hash", certified(b"key").key_digest, 1)
    with pytest.raises(OSError, match="disk full"):
        await stores.tokens.redeem(shown, certify=fail)
    assert isinstance(await stores.redeem(), NodeRecord)


async def test_a_renewal_counts_and_repeats_itself_for_the_same_key(stores: Stores) -> None:
    await stores.token()
    await stores.redeem(b"one")
    second = await stores.renew(b"two", serial=serial_of(b"one"), held=7)
    assert (second.generation, second.serial, second.bundle_generation) == (2, serial_of(b"two"), 7)
    assert await stores.renew(b"two", serial=serial_of(b"one"), held=7) == second
    assert await stores.nodes.acks() == {"den": 7}


async def test_a_new_key_on_an_old_certificate_locks_the_node(stores: Stores) -> None:
    await stores.token()
    await stores.redeem(b"one")
    await stores.renew(b"two", serial=serial_of(b"one"))
    locked = await stores.renew(b"thief", serial=serial_of(b"one"))
    assert (locked.state, locked.serial) == (NodeState.LOCKED, serial_of(b"two"))
    assert locked.why == OLDER
    with pytest.raises(Unauthenticated):
        await stores.renew(b"three", serial=serial_of(b"two"))
    assert (await stores.nodes.unlock("den", 5)).state is NodeState.ACTIVE
    assert (await stores.renew(b"three", serial=serial_of(b"two"))).generation == 3


async def test_a_certificate_that_is_on_no_record_locks_the_node_for_a_reason_of_its_own(
    stores: Stores,
) -> None:
    await stores.token()
    await stores.redeem(b"one")
    locked = await stores.renew(b"three", serial=serial_of(b"two"))
    assert (locked.state, locked.why) == (NodeState.LOCKED, UNRECORDED)


async def test_a_locked_name_gets_no_token_until_it_is_unlocked_or_revoked(stores: Stores) -> None:
    await stores.token()
    await stores.redeem(b"one")
    await stores.renew(b"two", serial=serial_of(b"one"))
    await stores.renew(b"thief", serial=serial_of(b"one"))
    with pytest.raises(AlreadyEnrolled, match="hubspoke nodes unlock den"):
        await stores.token("t2", now=2_000)


async def test_a_revocation_takes_every_serial_that_would_count(stores: Stores) -> None:
    await stores.token()
    await stores.redeem(b"one")
    await stores.renew(b"two", serial=serial_of(b"one"))
    node, serials = await stores.nodes.revoke("den", 3)
    assert node.state is NodeState.REVOKED
    assert serials == await stores.nodes.revoked(4) == {serial_of(b"one"), serial_of(b"two")}
    assert await stores.nodes.revoked(1_000) == frozenset()
    with pytest.raises(Unauthenticated):
        await stores.renew(b"three", serial=serial_of(b"two"))


async def test_what_was_handed_out_before_a_revocation_does_not_undo_it(stores: Stores) -> None:
    await stores.token()
    await stores.redeem(b"one")
    await stores.token("t2", now=1_001)
    await stores.token("t3", now=1_001, approval=True)
    assert isinstance(await stores.redeem(b"three", token="t3", now=1_002), Waiting)
    await stores.nodes.revoke("den", 1_003)
    await stores.tokens.judge("den", Verdict.APPROVED, 1_004)
    with pytest.raises(Unauthenticated, match="ask for a new one"):
        await stores.redeem(b"three", token="t3", now=1_005)
    await stores.tokens.judge("den", Verdict.DENIED, 1_006)
    with pytest.raises(Unauthenticated, match="ask for a new one"):
        await stores.redeem(b"two", token="t2", now=1_007)
    await stores.token("t4", now=1_008)
    assert isinstance(await stores.redeem(b"four", token="t4", now=1_009), NodeRecord)
    assert (await stores.node()).state is NodeState.ACTIVE


async def test_a_node_that_waits_is_let_in_once_it_is_approved(stores: Stores) -> None:
    await stores.token(approval=True)
    waiting = await stores.redeem()
    assert isinstance(waiting, Waiting)
    assert await stores.tokens.waiting(2) == (waiting,)
    assert await stores.nodes.nodes() == ()
    await stores.tokens.judge("den", Verdict.APPROVED, 2)
    assert isinstance(await stores.redeem(now=3), NodeRecord)
    assert await stores.tokens.waiting(3) == ()


async def test_a_token_that_waits_is_bound_to_its_key(stores: Stores) -> None:
    await stores.token(approval=True)
    await stores.redeem()
    await stores.tokens.judge("den", Verdict.APPROVED, 2)
    with pytest.raises(Unauthenticated):
        await stores.redeem(b"thief", now=3)


async def test_a_node_that_is_denied_hears_it_and_leaves_its_name_free(stores: Stores) -> None:
    await stores.token(approval=True)
    await stores.redeem()
    with pytest.raises(AlreadyEnrolled, match="hubspoke nodes approve den"):
        await stores.token("t2", now=2)
    await stores.tokens.judge("den", Verdict.DENIED, 2)
    with pytest.raises(PermissionDenied, match="denied"):
        await stores.redeem(now=3)
    with pytest.raises(UnknownNode, match="waits to join"):
        await stores.tokens.judge("den", Verdict.APPROVED, 3)
    await stores.token("t2", now=3)


async def test_nobody_waits_for_ever(stores: Stores) -> None:
    await stores.token(approval=True)
    await stores.redeem()
    late = 2 + WAITING_S_MAX
    with pytest.raises(Unauthenticated, match="nobody has approved"):
        await stores.redeem(now=late)
    assert await stores.tokens.waiting(late) == ()


async def test_a_status_uses_no_token(stores: Stores) -> None:
    await stores.token()
    shown = Shown("t1", b"hash", certified(b"key").key_digest, 1)
    with pytest.raises(Unauthenticated):
        await stores.tokens.status(shown, certify=lambda who: certified(b"key", who))
    assert isinstance(await stores.redeem(), NodeRecord)


async def test_a_comeback_is_checked_with_the_key_of_the_certificate_that_it_names(stores: Stores) -> None:
    await stores.token()
    await stores.redeem(b"one")
    seen: list[bytes] = []
    asked = Asked(serial_of(b"one"), certified(b"two").key_digest, 1, 5_000)

    async def rejoin(asked: Asked) -> NodeRecord | None:
        return await stores.nodes.rejoin(
            asked, check=lambda _, key: seen.append(key), certify=lambda who: certified(b"two", who, 9_000)
        )

    back = await rejoin(asked)
    assert back is not None
    assert (back.serial, back.expires_at, seen) == (serial_of(b"two"), 9_000, [b"one"])
    assert await rejoin(asked) == back  # the answer got lost
    assert await rejoin(Asked("nobody's", b"", 1, 5_000)) is None


async def test_changes_count_without_a_gap(stores: Stores) -> None:
    await stores.token()
    await stores.redeem(b"one")
    await stores.renew(b"two", serial=serial_of(b"one"))
    with pytest.raises(UnknownNode):
        await stores.nodes.revoke("attic", 3)
    await stores.renew(b"thief", serial=serial_of(b"one"))
    await stores.nodes.unlock("den", 4)
    await stores.nodes.revoke("den", 5)
    changes = await stores.nodes.changes(0)
    assert [(change.number, change.state.value) for change in changes] == [
        (1, "active"),
        (2, "locked"),
        (3, "active"),
        (4, "revoked"),
    ]
    assert await stores.nodes.changes(3) == changes[3:]


async def test_only_a_locked_node_can_be_unlocked(stores: Stores) -> None:
    await stores.token()
    await stores.redeem()
    with pytest.raises(InvalidRequest, match="is active"):
        await stores.nodes.unlock("den", 2)
    with pytest.raises(UnknownNode, match="hubspoke nodes list"):
        await stores.nodes.unlock("attic", 2)


async def test_an_admin_is_adopted_once_and_can_be_certified_anew(stores: Stores) -> None:
    first = await stores.nodes.adopt(certified(b"one"), 1)
    assert await stores.nodes.adopt(certified(b"other"), 2) == first
    await stores.nodes.revoke("den", 3)
    await stores.nodes.reissue(certified(b"anew"), 4)
    node = await stores.node()
    assert (node.state, node.serial) == (NodeState.ACTIVE, serial_of(b"anew"))
    assert await stores.nodes.revoked(5) == {serial_of(b"one")}
