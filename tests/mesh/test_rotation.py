"""Authorities are exchanged while a mesh works: no call fails, and what is old is refused afterwards."""

from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import pytest

from hub.config import GatewayConfig
from hubspoke import enrol
from hubspoke.admin import AdminClient
from hubspoke.channel import dial
from hubspoke.client import MeshClient
from hubspoke.clock import SystemClock
from hubspoke.credentials import channel_credentials
from hubspoke.errors import RotationRefused, Unreachable
from hubspoke.types import HostMemory
from pki import disk
from pki.authority_files import HUB_ISSUING
from pki.bundle import parse_chain
from pki.files import NodeFiles
from pki.identity import Role
from pki.rotation import Kind, Phase, Record
from pki.setup import is_issuer_in_use
from spoke.agent import Agent
from spoke.gpu.none import NoGpus
from spoke.link.machine import Machine
from tests.fakes.engine import FakeEngine, a_model
from tests.fakes.pauses import pause
from tests.fakes.real_agent import an_agent
from tests.fakes.real_hub import POLL_S, WAIT_S, real_hub, started_again
from tests.fakes.rotating import advance, begin, finish, roll_back, under_load

if TYPE_CHECKING:
    from pathlib import Path

    import grpc

    from tests.fakes.real_hub import RealHub

# An exchange has several phases, and waits in each until the port may change what it shows.
pytestmark = pytest.mark.timeout(300)

NODES = int(os.environ.get("HUBSPOKE_NODES", "9"))
"""A third of them spokes."""
SCRIPT = ("Once ", "upon ", "a ", "time")
PHASES = {
    Kind.NODE_ISSUING: (Phase.ANCHOR, Phase.SIGN),
    Kind.HUB_ISSUING: (Phase.SHOW,),
    Kind.ROOT: (Phase.INIT, Phase.UPDATE_CLIENTS, Phase.UPDATE_HUB),
}


async def spokes(hub: RealHub, opened: AsyncExitStack, count: int) -> None:
    for number in range(count):
        engine = FakeEngine(a_model(), script=list(SCRIPT))
        await opened.enter_async_context(an_agent(hub, f"spoke-{number}", engine))


async def as_it_was(files: NodeFiles, to: Path) -> NodeFiles:
    """Give a copy of an identity, which takes no part in what happens to the original."""
    copy = NodeFiles(to)
    disk.make_directory(to)
    for path in (files.identity, files.anchors, files.hub, files.generation):
        disk.create(to / path.name, path.read_bytes(), mode=disk.SECRET_MODE)
    return copy


async def connected(files: NodeFiles, hub: RealHub) -> grpc.aio.Channel:
    now = datetime.now(UTC)
    return await dial([hub.mesh], channel_credentials(files.load_identity(), files.load_anchors(now=now)))


async def test_no_call_fails_while_everything_is_exchanged_and_the_old_is_refused_afterwards(tmp_path: Path):
    async with real_hub(tmp_path) as hub, AsyncExitStack() as opened:
        await spokes(hub, opened, NODES // 3)
        old = await as_it_was(hub.admin, tmp_path / "old")
        async with under_load(hub, NODES - NODES // 3, "".join(SCRIPT)) as load:
            for kind in (Kind.ROOT, Kind.HUB_ISSUING, Kind.NODE_ISSUING):
                info = await finish(hub, kind, await begin(hub, kind))
        assert (load.errors, load.unary > 0, load.streams > 0) == ([], True, True)
        assert all(authority.number > 1 for authority in info.authorities)
        assert {node.generation for node in info.nodes} == {info.generation}
        with pytest.raises(Unreachable):
            await connected(old, hub)
        disk.replace(old.anchors, hub.admin.anchors.read_bytes(), mode=disk.PUBLIC_MODE)
        with pytest.raises(Unreachable):  # it trusts the hub now, and the hub does not trust it
            await connected(old, hub)
        assert sorted(path.name for path in hub.made.hub.authorities.directory.glob("*.key")) == [
            "hub-issuing-3.key",
            "node-issuing-3.key",
            "root-2.key",
        ]


@pytest.mark.parametrize(("kind", "phase"), [(kind, phase) for kind in Kind for phase in PHASES[kind]])
async def test_no_call_fails_while_an_exchange_is_turned_round(tmp_path: Path, kind: Kind, phase: Phase):
    async with real_hub(tmp_path) as hub, AsyncExitStack() as opened:
        await spokes(hub, opened, 2)
        before = hub.made.hub.authorities.load_roots(), hub.made.hub.authorities.load_node_issuers()
        async with under_load(hub, 2, "".join(SCRIPT)) as load:
            info = await begin(hub, kind)
            while info.rotation is not None and info.rotation.phase is not phase:
                info = await advance(hub, kind, info.rotation.phase)
            info = await finish(hub, kind, await roll_back(hub, kind, phase))
        assert load.errors == []
        after = hub.made.hub.authorities.load_roots(), hub.made.hub.authorities.load_node_issuers()
        assert (after, info.rotation) == (before, None)
        assert is_issuer_in_use(hub.made.hub, hub.made.hub.load_identity().chain_pem)


async def test_a_spoke_that_was_away_renews_as_soon_as_it_is_back(tmp_path: Path):
    async with real_hub(tmp_path) as hub, AdminClient(hub.admin.directory) as admin:
        files = await hub.join("den", Role.SPOKE)
        info = await begin(hub, Kind.NODE_ISSUING)
        while info.rotation is not None and info.rotation.phase is not Phase.SIGN:
            info = await advance(hub, Kind.NODE_ISSUING, info.rotation.phase)
        machine = Machine([FakeEngine(a_model())], NoGpus(), lambda: HostMemory(1 << 34, 1 << 33))
        # By this chance what fails once is tried again after half a minute.
        agent = Agent(
            files, machine, hubs=(hub.mesh,), slots=1, version="", clock=SystemClock(), chance=lambda: 0.99
        )
        async with asyncio.TaskGroup() as group, asyncio.timeout(WAIT_S):
            running = group.create_task(agent.run())
            while next(node for node in await admin.nodes() if node.identity.name == "den").generation < 2:
                await pause(POLL_S)
            running.cancel()


async def test_the_end_is_refused_while_a_node_has_not_taken_it_over_unless_it_is_forced(tmp_path: Path):
    async with real_hub(tmp_path) as hub:
        idle = await hub.join("laptop", Role.APP)
        await begin(hub, Kind.ROOT)
        for phase in PHASES[Kind.ROOT]:
            async with AdminClient(hub.admin.directory) as admin:
                with pytest.raises(RotationRefused, match="laptop holds generation"):
                    await admin.advance_rotation(Kind.ROOT, phase)
                info, left = await admin.advance_rotation(Kind.ROOT, phase, force=True)
                assert "laptop" in left
        assert info.rotation is None
        with pytest.raises(Unreachable):
            await connected(idle, hub)


async def test_who_asks_with_its_old_certificate_hears_that_its_new_one_is_turned_round(tmp_path: Path):
    async with real_hub(tmp_path) as hub:
        files, clock = await hub.join("laptop", Role.APP), SystemClock()
        await begin(hub, Kind.NODE_ISSUING)
        await advance(hub, Kind.NODE_ISSUING, Phase.ANCHOR)
        old = await connected(files, hub)
        try:
            assert await enrol.catch_up(old, files, clock)
            await enrol.renew(old, files, files.load_identity(), clock)
            await roll_back(hub, Kind.NODE_ISSUING, Phase.SIGN)
            assert await enrol.catch_up(old, files, clock)
        finally:
            await old.close()


async def test_two_admins_do_not_go_two_steps(tmp_path: Path):
    async with real_hub(tmp_path) as hub:
        await begin(hub, Kind.ROOT)
        await advance(hub, Kind.ROOT, Phase.INIT)
        async with AdminClient(hub.admin.directory) as admin:
            with pytest.raises(RotationRefused, match="somebody else was faster"):
                await admin.advance_rotation(Kind.ROOT, Phase.INIT, force=True)
            with pytest.raises(RotationRefused, match="not node-issuing"):
                await admin.roll_back_rotation(Kind.NODE_ISSUING, Phase.SIGN)


async def test_an_exchange_goes_on_in_a_hub_that_was_started_again(tmp_path: Path):
    async with real_hub(tmp_path) as hub:
        info = await begin(hub, Kind.ROOT)
    while info.rotation is not None:
        phase = info.rotation.phase
        async with started_again(hub) as hub:  # the same hub once more
            async with AdminClient(hub.admin.directory) as admin:
                assert (await admin.authorities()).rotation == info.rotation
            info = await advance(hub, Kind.ROOT, phase)
    async with started_again(hub) as hub, AdminClient(hub.admin.directory) as admin:
        assert (await admin.authorities()).generation == 4


async def test_a_new_issuer_that_is_damaged_leaves_the_hub_as_it_is(tmp_path: Path):
    async with real_hub(tmp_path) as hub:
        await begin(hub, Kind.ROOT)
        await advance(hub, Kind.ROOT, Phase.INIT)
        files = hub.made.hub.authorities
        other = files.key(HUB_ISSUING, 1).read_bytes()
        disk.replace(files.key(HUB_ISSUING, 2), other, mode=disk.SECRET_MODE)
        before = files.load_record()
        async with AdminClient(hub.admin.directory) as admin:
            with pytest.raises(RotationRefused, match="everything stays as it is"):
                await admin.advance_rotation(Kind.ROOT, Phase.UPDATE_CLIENTS)
        assert files.load_record() == before
        await (await connected(hub.admin, hub)).close()


async def test_a_token_of_before_a_new_root_says_why_it_does_not_work(tmp_path: Path):
    async with real_hub(tmp_path) as hub:
        async with AdminClient(hub.admin.directory) as admin:
            token = await admin.create_join_token("den", Role.SPOKE)
        await finish(hub, Kind.ROOT, await begin(hub, Kind.ROOT))
        with pytest.raises(Unreachable, match=r"another root by now .* ask for a new token"):
            await enrol.join(token.text, tmp_path / "den", roles=[Role.SPOKE], clock=SystemClock())


@pytest.mark.parametrize("phase", PHASES[Kind.ROOT])
async def test_who_joins_in_the_middle_is_in_the_mesh_at_the_end(tmp_path: Path, phase: Phase):
    async with real_hub(tmp_path) as hub:
        info = await begin(hub, Kind.ROOT)
        while info.rotation is not None and info.rotation.phase is not phase:
            info = await advance(hub, Kind.ROOT, info.rotation.phase)
        async with an_agent(hub, "den", FakeEngine(a_model(), script=list(SCRIPT))):
            assert (await finish(hub, Kind.ROOT, info)).rotation is None
            await hub.is_listed("den", 2)
        chain = parse_chain(NodeFiles(tmp_path / "den").load_identity().chain_pem)
        assert chain.certificates[1] == hub.made.hub.authorities.load_node_issuer().certificate
        assert hub.made.hub.authorities.load_record().phase is Record().phase


async def test_the_https_gateway_shows_and_takes_what_is_new_without_a_restart(tmp_path: Path):
    async with real_hub(tmp_path, gateway=GatewayConfig(port=0, listen="0.0.0.0")) as hub:
        old_roots = tmp_path / "old.pem"
        old_roots.write_bytes(hub.made.hub.anchors.read_bytes())
        laptop = await hub.join("laptop", Role.APP)
        old = await as_it_was(laptop, tmp_path / "old")
        info = await begin(hub, Kind.ROOT)
        while info.rotation is not None:
            async with MeshClient(laptop.directory):
                pass  # it takes over what there is
            info = await advance(hub, Kind.ROOT, info.rotation.phase)
        roots = hub.made.hub.anchors
        assert await models_over_https(hub, roots, laptop.identity) == 200
        for trusted, shown in ((old_roots, laptop.identity), (roots, old.identity)):
            with pytest.raises(httpx.TransportError):
                await models_over_https(hub, trusted, shown)


async def models_over_https(hub: RealHub, roots: Path, identity: Path) -> int:
    context = ssl.create_default_context(cafile=roots)
    context.load_cert_chain(identity)
    async with httpx.AsyncClient(verify=context, trust_env=False) as http:
        return (await http.get(f"https://localhost:{hub.ports.gateway[0]}/v1/models")).status_code
