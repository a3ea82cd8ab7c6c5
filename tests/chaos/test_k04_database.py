"""K4, K6, K10 and K13: the database goes away, two hubs want the same, formats and clocks differ."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING

import pytest

from hub.delegations.delegations import id_of
from hubspoke.errors import StoreFailed, UnknownDelegation
from hubspoke.types import DelegationId, DelegationState
from tests.chaos import checks
from tests.chaos.mesh import Watching, asked, half_done, hand_over
from tests.chaos.processes import WAIT_S
from tests.chaos.works import MIDDLE, Part, diamond, planned, result_of
from tests.fakes.pauses import pause

if TYPE_CHECKING:
    from tests.chaos.mesh import ChaosMesh
    from tests.fakes.postgres import Postgres


BACK_S = 20.0
"""A delegation that was held up has ended so soon after its database is back; who watches waits a while, too."""
DOWN_S = 60.0
"""The longest that it is away."""


@pytest.fixture
def needs_postgres(url: str) -> None:
    """Leave out tests that are about a server."""
    if not url:
        pytest.skip("a file is no server")


@pytest.fixture
def needs_file(url: str) -> None:
    """Leave out tests that are about a file."""
    if url:
        pytest.skip("a server is no file")


@pytest.mark.usefixtures("needs_postgres")
@pytest.mark.parametrize(
    "down_s", [0.2, 1, pytest.param(10, marks=pytest.mark.long), pytest.param(DOWN_S, marks=pytest.mark.long)]
)
async def test_a_database_that_crashes_holds_work_up_and_repeats_none(
    mesh: ChaosMesh, server: Postgres, down_s: float
):
    parts, refused = diamond("gate=go"), planned(Part("refused"))
    async with mesh.app() as client:
        info = await hand_over(client, planned(*parts))
        watching = Watching(client, info.id)
        ending = asyncio.create_task(watching.to_the_end(DOWN_S + 2 * WAIT_S))
        await mesh.has_begun("m0", "m1", "m2", "m3")
        await asyncio.to_thread(server.stop)
        mesh.open("go")
        await mesh.has_finished(*MIDDLE)
        with pytest.raises(StoreFailed, match=r"cannot be reached.*ask again"):
            await client.delegations.hand_over(refused)
        assert await asked(client) == "a(b)"
        await pause(down_s)
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(BACK_S):
            last = await ending
        with pytest.raises(UnknownDelegation):  # it was not accepted by half
            await client.delegations.get(DelegationId(id_of(info.owner, refused.request_id)))
    assert (last.state, last.result) == (DelegationState.SUCCEEDED, result_of(*parts))
    assert checks.is_dense(watching.events)
    assert {checks.begun(mesh.moments, part.name) for part in parts} == {1}


@pytest.mark.usefixtures("needs_file")
async def test_a_journal_that_is_locked_for_a_backup_holds_work_up(mesh: ChaosMesh):
    parts = diamond("gate=go")
    async with mesh.app() as client:
        watching, ending = await half_done(mesh, client, planned(*parts))
        locks = [sqlite3.connect(path, isolation_level=None) for path in mesh.journals]
        for lock in locks:
            lock.execute("BEGIN IMMEDIATE")
        mesh.open("go")
        await mesh.has_finished(*MIDDLE)
        await pause(7)  # longer than the five seconds that a write waits
        for lock in locks:
            lock.close()
        last = await ending
    assert last.result == result_of(*parts)
    assert checks.is_dense(watching.events)
    assert {checks.begun(mesh.moments, part.name) for part in parts} == {1}


async def test_a_second_hub_on_the_same_state_does_not_start_and_disturbs_nobody(mesh: ChaosMesh):
    parts = (Part("one", (), "gate=go"),)
    async with mesh.app() as client:
        info = await hand_over(client, planned(*parts))
        await mesh.has_begun("one")
        second = mesh.second_hub()
        second.start()
        assert await second.has_ended() not in {0, -9}
        mesh.open("go")
        last = await Watching(client, info.id).to_the_end()
    assert last.result == result_of(*parts)
    assert checks.begun(mesh.moments, "one") == 1
    assert "nother hub" in second.log.read_text()


@pytest.mark.parametrize(("before", "after"), [("0", "1"), ("1", "0")], ids=["forth", "back"])
async def test_a_clock_that_jumps_an_hour_while_the_hub_is_down_changes_nothing(
    mesh: ChaosMesh, monkeypatch: pytest.MonkeyPatch, before: str, after: str
):
    parts = diamond("gate=go", width=2)
    monkeypatch.setitem(mesh.hub.environment, "CHAOS_HOURS", before)
    mesh.hub.kill()
    await mesh.start_hub()
    async with mesh.app() as client:
        info = await hand_over(client, planned(*parts))
        watching = Watching(client, info.id)
        ending = asyncio.create_task(watching.to_the_end())
        await mesh.has_begun("m0", "m1")
        mesh.hub.kill()
        mesh.open("go")
        monkeypatch.setitem(mesh.hub.environment, "CHAOS_HOURS", after)
        await mesh.start_hub()
        last = await ending
        monkeypatch.undo()
        mesh.hub.kill()
    assert last.result == result_of(*parts)
    assert checks.is_dense(watching.events)
    assert {checks.begun(mesh.moments, part.name) for part in parts} == {1}
