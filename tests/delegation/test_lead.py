"""Which hub of those that share a database has the lead, and what they have in common, on a real server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from hub.config import DatabaseConfig
from hub.core.delegation.accepts import Accepts, Kind, reviewed
from hub.core.types import Speed
from hub.store.accepts import AcceptStore
from hub.store.hubs import HubRow
from hub.store.lead import SURE_S, Lead, LeadLost, Silence
from hub.store.mesh import Store
from hub.store.moving import away
from hub.store.nodes import Certified, NodeStore
from hub.store.server import server_url
from hub.store.state import open_state
from hubspoke.clock import SystemClock
from hubspoke.errors import InvalidRequest, StoreFailed
from hubspoke.types import ModelKey, SpokeId
from pki.errors import KeysOfBefore, UnsafeKeyFile
from pki.identity import Identity, NodeName, Role
from tests.fakes.cable import cable
from tests.fakes.pauses import pause
from tests.fakes.postgres import postgres, tool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.fakes.postgres import Postgres

pytestmark = pytest.mark.skipif(
    tool("initdb") is None, reason="PostgreSQL is not installed (Debian: postgresql)"
)
WAIT_S, POLL_S = 20.0, 0.02
GONE = HubRow("box", leads=True, silent_s=30.0)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture
def told(server: Postgres) -> DatabaseConfig:
    return DatabaseConfig(url=server.database())


@asynccontextmanager
async def joined(told: DatabaseConfig, name: str, generation: int = 1) -> AsyncIterator[Lead]:
    lead = Lead(server_url(told), name, generation, SystemClock(), name_s=0.0)
    await lead.join()
    try:
        yield lead
    finally:
        await lead.close()


async def test_one_leads_and_the_other_follows_it(told: DatabaseConfig):
    async with joined(told, "two") as two:
        async with joined(told, "one") as one, asyncio.timeout(WAIT_S):
            await one.wait()
            await one.announce(["one:1"], ["one:2"])
            waiting = asyncio.create_task(two.wait())
            while not two.others:
                await pause(POLL_S)
            assert not waiting.done()
            assert [(hub.name, hub.mesh, hub.enrol, hub.is_there) for hub in two.others] == [
                ("one", ("one:1",), ("one:2",), True)
            ]
        await waiting


async def test_two_hubs_cannot_have_one_name(told: DatabaseConfig):
    async with joined(told, "box"):
        with pytest.raises(InvalidRequest, match="another hub works as 'box'"):
            async with joined(told, "box"):
                pass
    async with joined(told, "box"):
        pass


@pytest.mark.parametrize("name", ["state", "tables", "lead"])
async def test_a_hub_may_have_any_name(told: DatabaseConfig, tmp_path: Path, name: str):
    """None of its locks is one that others wait for."""
    async with (
        asyncio.timeout(WAIT_S),
        joined(told, name),
        open_state(told, tmp_path / "state.db"),
        joined(told, "another") as another,
    ):
        await another.wait()


async def test_a_lead_whose_connection_is_ended_is_lost_to_whoever_is_faster(
    told: DatabaseConfig, server: Postgres
):
    async with joined(told, "one") as one, joined(told, "two") as two, asyncio.timeout(WAIT_S):
        await one.wait()
        waiting = asyncio.create_task(two.wait())
        end_connections(told)
        await waiting  # it has a look more often
        with pytest.raises(LeadLost):
            await one.keep()


async def test_a_lead_that_is_cut_off_is_lost_though_the_other_hub_was_down_before(told: DatabaseConfig):
    """It may have been started meanwhile."""
    url = sa.make_url(told.url)
    assert url.port is not None
    async with joined(told, "two") as two:
        await two.announce(["two:1"], ["two:2"])
    with sa.create_engine(server_url(told), poolclass=sa.NullPool).begin() as connection:
        connection.exec_driver_sql("UPDATE hubs SET seen_at = seen_at - interval '1 day'")
    async with cable(url.port) as line:
        through = DatabaseConfig(url=str(url.set(port=line.port)))
        async with joined(through, "one") as one, asyncio.timeout(WAIT_S):
            await one.wait()
            assert [hub.is_there for hub in one.others] == [False]
            line.cut()
            with pytest.raises(LeadLost, match="cannot be reached"):
                await one.keep()
            assert one.is_lost
            line.mend()


async def test_a_hub_whose_authorities_are_of_yesterday_does_not_serve(told: DatabaseConfig):
    async with joined(told, "one", generation=2) as one, joined(told, "two") as two:
        await one.wait()
        with pytest.raises(KeysOfBefore, match="add-hub"):
            await two.wait()


async def test_a_server_that_is_away_is_told_at_once(tmp_path: Path):
    nowhere = DatabaseConfig(url="postgresql://hubspoke@127.0.0.1:1/hubspoke")
    with pytest.raises(StoreFailed, match=r"\[database\] url"):
        async with joined(nowhere, "box"):
            pass
    with pytest.raises(StoreFailed):
        async with open_state(nowhere, tmp_path / "state.db"):
            pass


@pytest.mark.parametrize(
    ("change", "sign"),
    [
        ({"database": "nothing"}, "no such database"),
        ({"username": "nobody"}, "no such database or user"),
        ({"port": 1}, "whether it runs"),
    ],
)
async def test_why_a_server_takes_nobody_is_told(
    told: DatabaseConfig, change: dict[str, str], sign: str, caplog: pytest.LogCaptureFixture
):
    url = sa.make_url(told.url).set(**change)  # type: ignore[arg-type]
    with pytest.raises(StoreFailed, match=sign):
        async with joined(DatabaseConfig(url=str(url)), "box"):
            pass
    (record,) = [each for each in caplog.records if each.message == "database not reached"]
    assert "OperationalError" not in record.__dict__["why"]


def test_a_password_lies_in_a_file_that_nobody_else_reads(tmp_path: Path):
    file = tmp_path / "password"
    told = DatabaseConfig(url="postgresql://hubspoke@db/hubspoke", password_file=str(file))
    with pytest.raises(InvalidRequest, match=r"\[database\] password_file"):
        server_url(told)
    file.write_text("xyz\n")
    file.chmod(0o640)
    with pytest.raises(UnsafeKeyFile, match=r"\[database\] password_file"):
        server_url(told)
    file.chmod(0o600)
    assert server_url(told).password == "xyz"


async def test_what_a_hub_has_kept_in_a_file_moves_into_the_server_once(told: DatabaseConfig, tmp_path: Path):
    file, key = tmp_path / "state.db", ModelKey("sha256:aa")
    measured = {(SpokeId("den"), key): Speed(1.0, 2.0, 3.0)}
    async with open_state(DatabaseConfig(), file) as database:
        await Store(database).save_speeds(measured)
    async with open_state(told, file) as database:
        store = Store(database)
        assert await store.speeds(SpokeId("den")) == {key: Speed(1.0, 2.0, 3.0)}
        await store.save_speeds({(SpokeId("den"), key): Speed(4.0, 5.0, 6.0)})
    async with open_state(told, file) as database:
        assert await Store(database).speeds(SpokeId("den")) == {key: Speed(4.0, 5.0, 6.0)}


async def test_a_file_moves_though_another_hub_has_opened_the_database_first(
    told: DatabaseConfig, tmp_path: Path
):
    file, key = tmp_path / "state.db", ModelKey("sha256:aa")
    async with open_state(DatabaseConfig(), file) as database:
        await Store(database).save_speeds({(SpokeId("den"), key): Speed(1.0, 2.0, 3.0)})
    copied = file.read_bytes()
    async with open_state(told, tmp_path / "other" / "state.db"):
        pass
    async with open_state(told, file) as database:
        assert await Store(database).speeds(SpokeId("den")) == {key: Speed(1.0, 2.0, 3.0)}
    assert not file.exists()
    with pytest.raises(StoreFailed, match="url names none"):
        async with open_state(DatabaseConfig(), file):
            pass
    file.write_bytes(copied)  # a hub that has a mesh of its own
    with pytest.raises(StoreFailed, match="so does the shared database"):
        async with open_state(told, file):
            pass


async def test_a_file_that_was_moved_when_the_hub_went_down_is_put_away(told: DatabaseConfig, tmp_path: Path):
    file = tmp_path / "state.db"
    async with open_state(DatabaseConfig(), file) as database:
        await Store(database).save_speeds({(SpokeId("den"), ModelKey("sha256:aa")): Speed(1.0, 2.0, 3.0)})
    async with open_state(told, file):
        pass
    away(file).rename(file)
    async with open_state(told, file):
        assert away(file).exists()
        assert not file.exists()


async def test_how_models_did_is_known_to_the_hub_that_takes_over(told: DatabaseConfig, tmp_path: Path):
    one, two, clock = Kind(ModelKey("sha256:aa"), "extract"), Kind(ModelKey("sha256:aa"), ""), SystemClock()
    learnt = reviewed(Accepts(), one, accepted=False, now=clock.monotonic())
    async with (
        open_state(told, tmp_path / "first.db") as first,
        open_state(told, tmp_path / "second.db") as second,
    ):
        await AcceptStore(first, clock).save(learnt)
        store = AcceptStore(second, clock)
        taken_over = await store.load()
        await store.save(reviewed(taken_over, two, accepted=True, now=clock.monotonic()))
        again = await AcceptStore(first, clock).load()
    assert {kind: (tally.accepted, tally.reviewed) for kind, tally in again.tallies.items()} == {
        one: (0, 1),
        two: (1, 1),
    }


async def test_changes_of_hubs_that_write_at_once_are_numbered_without_a_gap(
    told: DatabaseConfig, tmp_path: Path
):
    async with (
        open_state(told, tmp_path / "state.db") as one,
        open_state(told, tmp_path / "state.db") as two,
    ):
        stores = NodeStore(one), NodeStore(two)
        async with asyncio.TaskGroup() as group:
            for number in range(10):
                for place, store in enumerate(stores):
                    group.create_task(store.reissue(certified(f"n{number}-{place}"), 1.0))
        async with asyncio.TaskGroup() as group:
            for number in range(10):
                for place, store in enumerate(stores):
                    group.create_task(store.revoke(f"n{number}-{place}", 2.0))
        assert [change.number for change in await stores[0].changes(0)] == list(range(1, 41))


async def test_a_database_of_another_version_is_left_alone(told: DatabaseConfig, tmp_path: Path):
    async with open_state(told, tmp_path / "state.db"):
        pass
    with sa.create_engine(server_url(told), poolclass=sa.NullPool).begin() as connection:
        connection.exec_driver_sql("UPDATE state_schema SET number = 99")
    with pytest.raises(StoreFailed, match="schema 99"):
        async with open_state(told, tmp_path / "state.db"):
            pass


async def test_a_server_that_is_halted_keeps_nobody_from_its_end(told: DatabaseConfig, tmp_path: Path):
    """It answers nothing, and its machine keeps the lines alive."""
    url = sa.make_url(told.url)
    assert url.port is not None
    async with cable(url.port) as line, asyncio.timeout(WAIT_S):
        through = DatabaseConfig(url=str(url.set(port=line.port)))
        async with joined(through, "one") as one, open_state(through, tmp_path / "state.db") as database:
            await one.wait()
            line.cut()
            reading = asyncio.create_task(Store(database).speeds(SpokeId("den")))
        with pytest.raises(StoreFailed):
            await reading
        line.mend()


def test_silence_is_measured_from_when_it_was_first_heard():
    silence = Silence()
    assert not silence.ends_at(100.0, [GONE])
    assert not silence.ends_at(100.0 + SURE_S - 0.1, [GONE])
    assert silence.ends_at(100.0 + SURE_S, [GONE])
    assert not silence.ends_at(100.0 + SURE_S + 0.1, [GONE])


def test_a_hub_that_speaks_again_ends_the_silence():
    silence = Silence()
    silence.ends_at(100.0, [GONE])
    assert not silence.ends_at(101.0, [replace(GONE, silent_s=0.1)])
    assert not silence.ends_at(101.0 + SURE_S - 0.1, [GONE])


def end_connections(told: DatabaseConfig) -> None:
    """End every other connection to the database."""
    query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with sa.create_engine(server_url(told), poolclass=sa.NullPool).connect() as connection:
        connection.exec_driver_sql(query)


def certified(name: str) -> Certified:
    return Certified(Identity(Role.SPOKE, NodeName(name)), f"serial-{name}", name.encode(), b"chain", 1e9)
