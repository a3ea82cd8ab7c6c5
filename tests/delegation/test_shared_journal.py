"""A journal in PostgreSQL: hubs that are killed, databases that are, and hubs that take over what a dead one has left."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from hub.config import JournalConfig
from hub.journal.opening import open_journal
from hub.journal.rows import New, Query
from hubspoke.clock import SystemClock
from hubspoke.errors import InvalidRequest
from hubspoke.types import DelegationId, DelegationState
from hubspoke.wire import delegations as wire
from tests.fakes.delegating import A, B, C, asked, planned, until
from tests.fakes.engine import Gate
from tests.fakes.hub_process import hub_process
from tests.fakes.postgres import postgres, tool
from tests.fakes.real_agent import an_agent
from tests.fakes.replying_engine import ReplyingEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.postgres import Postgres

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(tool("initdb") is None, reason="PostgreSQL is not installed (Debian: postgresql)"),
]
WORK = planned(asked(A, "one"), asked(B, "two"), asked(C, "three {a} {b}", A, B))


@pytest.fixture
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


async def test_a_hub_that_dies_with_its_journal_in_a_server_goes_on(tmp_path: Path, server: Postgres):
    gate = Gate()
    engine = ReplyingEngine(replies=lambda prompt: (gate, prompt) if prompt == "two" else prompt)
    async with (
        hub_process(tmp_path, journal=server.url) as hub,
        an_agent(hub, "den", engine),
        hub.app() as mesh,
    ):
        info = await mesh.delegations.hand_over(WORK)
        await gate.reached.wait()
        await hub.kill()
        gate.open()
        await hub.start()
        await until(mesh, info.id, DelegationState.SUCCEEDED)
        assert (await mesh.delegations.get(info.id)).result == "three one two"
    assert set(engine.ended.values()) == {1}


async def test_a_server_that_crashes_is_waited_for(tmp_path: Path, server: Postgres):
    """K4: what ends meanwhile is kept once the server is back."""
    gate = Gate()
    engine = ReplyingEngine(replies=lambda prompt: (gate, prompt) if prompt == "two" else prompt)
    async with (
        hub_process(tmp_path, journal=server.url) as hub,
        an_agent(hub, "den", engine),
        hub.app() as mesh,
    ):
        info = await mesh.delegations.hand_over(WORK)
        await gate.reached.wait()
        await asyncio.to_thread(server.stop)
        gate.open()
        await engine.closed.acquire()
        await asyncio.to_thread(server.start)
        await until(mesh, info.id, DelegationState.SUCCEEDED)
        assert (await mesh.delegations.get(info.id)).result == "three one two"
    assert set(engine.ended.values()) == {1}


async def test_two_hubs_cannot_have_one_name(tmp_path: Path, server: Postgres):
    """K6: the second one does not start."""
    told, clock = JournalConfig(url=server.url), SystemClock()
    first = await open_journal(told, tmp_path, "box", clock)
    with pytest.raises(InvalidRequest, match="another hub works as 'box'"):
        await open_journal(told, tmp_path, "box", clock)
    await first.journal.close()
    await first.owner.close()
    again = await open_journal(told, tmp_path, "box", clock)
    await again.journal.close()
    await again.owner.close()


async def test_what_a_dead_hub_has_left_goes_to_one_of_the_others(tmp_path: Path, server: Postgres):
    told, clock = JournalConfig(url=server.url), SystemClock()
    dead = await open_journal(told, tmp_path, "dead", clock)
    heirs = [await open_journal(told, tmp_path, name, clock) for name in ("one", "two")]
    new = New(DelegationId("d"), "somebody", WORK, wire.digest_of(WORK), 1.0, 2e9, "dead")
    await dead.journal.accept(new)
    assert [await heir.owner.dead() for heir in heirs] == [(), ()]
    await dead.owner.close()
    await dead.journal.close()
    found = await asyncio.gather(*(heir.owner.dead() for heir in heirs))
    assert sorted(found) == [(), ("dead",)]
    heir = heirs[found.index(("dead",))]
    assert await heir.journal.adopt_dead("dead") == (new.id,)
    await heir.owner.buried("dead")
    assert await heir.journal.open_of(heir.journal.executor) == (new.id,)
    assert [info.id for info in await heir.journal.list(Query(None))] == [new.id]
    for each in heirs:
        await each.owner.close()
        await each.journal.close()


async def test_a_password_has_no_place_in_an_address(tmp_path: Path):
    told = JournalConfig(url="postgresql://hubspoke:secret@127.0.0.1/hubspoke")
    with pytest.raises(InvalidRequest) as caught:
        await open_journal(told, tmp_path, "box", SystemClock())
    assert "secret" not in caught.value.message
