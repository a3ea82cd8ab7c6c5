"""K6: two hubs on one PostgreSQL. One serves, the other stands by, and takes over whom and what the first one had."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from hubspoke.admin import AdminClient
from hubspoke.clock import SystemClock
from hubspoke.errors import MeshError, RotationRefused, Unreachable
from hubspoke.types import DelegationState, HostMemory
from pki.identity import Role
from pki.rotation import Kind
from pki.succession import RootKey, prepare
from spoke.agent import Agent
from spoke.gpu.none import NoGpus
from spoke.link.machine import Machine
from tests.fakes.cable import cable
from tests.fakes.delegating import A, B, C, asked, is_dense, planned, until
from tests.fakes.engine import Gate
from tests.fakes.hub_process import hub_process, stand_by
from tests.fakes.pauses import pause
from tests.fakes.postgres import postgres, tool
from tests.fakes.replying_engine import ReplyingEngine
from tests.fakes.service_manager import service_manager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from hubspoke.types import DelegationEvent
    from pki.files import NodeFiles
    from tests.fakes.hub_process import HubProcess
    from tests.fakes.postgres import Postgres

pytestmark = [
    pytest.mark.timeout(180),  # a hub that hangs is given ten seconds, and a slow machine more for each start
    pytest.mark.skipif(tool("initdb") is None, reason="PostgreSQL is not installed (Debian: postgresql)"),
]
WORK = planned(asked(A, "one"), asked(B, "two"), asked(C, "three {a} {b}", A, B))
TAKEN_S = 60.0
POLL_S = 0.02


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@asynccontextmanager
async def two_hubs(directory: Path, server: Postgres) -> AsyncIterator[tuple[HubProcess, HubProcess]]:
    """A hub that serves, and one that stands by and that nodes who join are told of."""
    async with hub_process(directory, journal=server.database()) as first, stand_by(first, "tower") as second:
        await knows(first.admin, second)
        yield first, second


async def knows(files: NodeFiles, hub: HubProcess) -> None:
    """Wait until whoever uses the identity in *files* has been told of *hub*."""
    async with asyncio.timeout(TAKEN_S):
        while hub.mesh not in files.load_addresses().mesh:
            async with AdminClient(files.directory) as admin:
                await admin.spokes()
            await pause(POLL_S)


@asynccontextmanager
async def spoke(hub: HubProcess, name: str, engine: ReplyingEngine) -> AsyncIterator[None]:
    """A spoke that goes where its hubs are, as it was told when it joined."""
    files = await hub.join(name, Role.SPOKE)
    machine = Machine([engine], NoGpus(), lambda: HostMemory(1 << 34, 1 << 33))
    agent = Agent(files, machine, hubs=(), slots=2, version="test", clock=SystemClock(), chance=lambda: 0.01)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(agent.run())
        await hub.is_listed(name, 2)
        yield
        task.cancel()


async def test_a_hub_that_is_killed_is_followed_by_the_one_that_stands_by(tmp_path: Path, server: Postgres):
    gate = Gate()
    engine = ReplyingEngine(replies=lambda prompt: (gate, prompt) if prompt == "two" else prompt)
    events: list[DelegationEvent] = []
    async with (
        two_hubs(tmp_path, server) as (first, second),
        spoke(first, "den", engine),
        first.app() as mesh,
    ):
        assert not await second.is_listening()
        info = await mesh.delegations.hand_over(WORK)

        async def watch() -> None:
            events.extend([event async for event in mesh.delegations.watch(info.id)])

        watching = asyncio.create_task(watch())
        await gate.reached.wait()
        await first.kill()
        gate.open()
        await watching
        assert (await mesh.delegations.get(info.id)).result == "three one two"
        # Who came in by the first one is in the mesh of the second one.
        await second.join("newcomer", Role.APP)
    assert is_dense(events)
    assert set(engine.ended.values()) == {1}


async def test_a_hub_that_hangs_loses_the_lead_and_stands_by_when_it_is_back(
    tmp_path: Path, server: Postgres
):
    """K5: it finds out by itself, and is there when the other one dies."""
    gate = Gate()
    engine = ReplyingEngine(replies=lambda prompt: (gate, prompt) if prompt == "two" else prompt)
    async with (
        two_hubs(tmp_path, server) as (first, second),
        spoke(first, "den", engine),
        first.app() as mesh,
    ):
        info = await mesh.delegations.hand_over(WORK)
        await gate.reached.wait()
        first.process.send_signal(signal.SIGSTOP)
        await second.listens()
        gate.open()
        first.process.send_signal(signal.SIGCONT)
        await until_shut(first)
        assert (await until(mesh, info.id, DelegationState.SUCCEEDED)).result == "three one two"
        await second.kill()
        await first.listens()
        assert (await mesh.delegations.get(info.id)).result == "three one two"
    assert set(engine.ended.values()) == {1}


async def test_a_hub_that_loses_the_lead_shuts_its_gateway_and_opens_it_when_it_leads_again(
    tmp_path: Path, server: Postgres, monkeypatch: pytest.MonkeyPatch
):
    """A service manager that heard of its end would kill it some time later."""
    with service_manager(str(tmp_path / "notify")) as manager:
        for name, value in manager.environment.items():
            monkeypatch.setenv(name, value)
        async with (
            hub_process(tmp_path, journal=server.database(), gateway=True) as first,
            stand_by(first, "tower") as second,
        ):
            (web,) = first.ports.gateway
            await knows(first.admin, second)
            await first.listens(web)
            first.process.send_signal(signal.SIGSTOP)
            await second.listens()
            first.process.send_signal(signal.SIGCONT)
            await until_shut(first)
            await until_shut(first, web)
            await second.kill()
            await first.listens()
            await first.listens(web)
            first.process.terminate()
            assert await first.process.wait() == 0
        heard = [await manager.next()]
        while "STOPPING=1" not in heard[-1]:
            heard.append(await manager.next())
        assert sum("READY=1" in each and "listening" in each for each in heard) == 3


async def test_a_hub_that_is_cut_off_from_the_database_stops_before_the_other_one_begins(
    tmp_path: Path, server: Postgres
):
    """K6: its spokes are there all the while, and it must not go on with them."""
    gate, url = Gate(), sa.make_url(server.database())
    engine = ReplyingEngine(replies=lambda prompt: (gate, prompt) if prompt == "two" else prompt)
    assert url.port is not None
    async with (
        cable(url.port) as line,
        hub_process(tmp_path, journal=str(url.set(port=line.port))) as first,
        stand_by(first, "tower", str(url)) as second,
    ):
        await knows(first.admin, second)
        async with spoke(first, "den", engine), first.app() as mesh:
            info = await mesh.delegations.hand_over(WORK)
            await gate.reached.wait()
            line.cut()
            await second.listens()
            assert not await first.is_listening()
            gate.open()
            assert (await until(mesh, info.id, DelegationState.SUCCEEDED)).result == "three one two"
            line.mend()
            assert not await first.is_listening()
    assert set(engine.ended.values()) == {1}


async def test_who_dies_while_it_takes_over_is_followed_too(tmp_path: Path, server: Postgres):
    """The first one, back meanwhile, takes back what it had lost."""
    gate = Gate()
    engine = ReplyingEngine(replies=lambda prompt: (gate, prompt) if prompt == "two" else prompt)
    async with (
        two_hubs(tmp_path, server) as (first, second),
        spoke(first, "den", engine),
        first.app() as mesh,
    ):
        await second.kill()
        await second.launch("hub.journal.journal:Journal.adopt_dead:after")
        info = await mesh.delegations.hand_over(WORK)
        await gate.reached.wait()
        await first.kill()
        await second.died()
        gate.open()
        await first.start()
        assert (await until(mesh, info.id, DelegationState.SUCCEEDED)).result == "three one two"
    assert set(engine.ended.values()) == {1}


async def test_authorities_are_not_exchanged_while_another_hub_stands_by(tmp_path: Path, server: Postgres):
    async with two_hubs(tmp_path, server) as (first, _):
        authorities = first.made.hub.authorities
        fingerprint = prepare(authorities, Kind.NODE_ISSUING, RootKey(None), now=SystemClock().now())
        async with AdminClient(first.admin.directory) as admin:
            with pytest.raises(RotationRefused, match="tower stands by"):
                await admin.begin_rotation(Kind.NODE_ISSUING, fingerprint)


async def test_a_hub_that_is_alone_serves_on_without_its_database(tmp_path: Path, server: Postgres):
    async with (
        hub_process(tmp_path, journal=server.database()) as hub,
        spoke(hub, "den", ReplyingEngine()),
        hub.app() as mesh,
    ):
        await asyncio.to_thread(server.stop)
        try:
            with pytest.raises(MeshError) as caught:
                await mesh.delegations.hand_over(WORK)
            assert not isinstance(caught.value, Unreachable)
            assert len(await mesh.models()) == 1
        finally:
            await asyncio.to_thread(server.start)
        info = await mesh.delegations.hand_over(WORK)
        await until(mesh, info.id, DelegationState.SUCCEEDED)


async def until_shut(hub: HubProcess, port: int = 0) -> None:
    """Wait until *hub* does not serve the mesh any more, or what is behind another *port* of its own."""
    async with asyncio.timeout(TAKEN_S):
        while await hub.is_listening(port):
            await pause(POLL_S)
