"""A journal in PostgreSQL: hubs that are killed, and databases that are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from hub.config import DatabaseConfig
from hub.journal.opening import open_journal
from hubspoke.clock import SystemClock
from hubspoke.errors import InvalidRequest
from hubspoke.types import DelegationState
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
    pytest.mark.timeout(180),
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


async def test_a_password_has_no_place_in_an_address(tmp_path: Path):
    told = DatabaseConfig(url="postgresql://hubspoke:secret@127.0.0.1/hubspoke")
    with pytest.raises(InvalidRequest) as caught:
        await open_journal(told, tmp_path, "box", SystemClock())
    assert "secret" not in caught.value.message
