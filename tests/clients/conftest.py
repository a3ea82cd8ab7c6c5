"""A mesh with the real engine, and the example programs as people start them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from hub.config import GatewayConfig
from pki.identity import Role
from tests.clients import trials
from tests.fakes.home import ROOT, Home, joined
from tests.fakes.real_agent import an_agent
from tests.fakes.real_hub import real_hub
from tests.fakes.skilled_engine import SKILLED, SkilledEngine
from tests.gateway.conftest import a_gateway
from tools import node as tools_node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hubspoke.types import SpokeStatus
    from tests.clients.trials import Ground
    from tests.fakes.real_hub import RealHub

SLOTS = 2


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Home]:
    """Run a hub, and a spoke that is a process with the real engine and the shipped model; give an app's home."""
    directory = tmp_path_factory.mktemp("mesh")
    async with real_hub(directory) as hub, a_tiny_spoke(hub, directory, SLOTS):
        yield await joined(hub, directory / "home")


@asynccontextmanager
async def a_tiny_spoke(hub: RealHub, directory: Path, slots: int) -> AsyncIterator[None]:
    """Run the spoke `den`, a process with the real engine and the shipped model."""
    files = await hub.join("den", Role.SPOKE)
    state = directory / "state"
    state.mkdir()
    files.directory.rename(state / "spoke")
    agent = ("-m", "spoke", "--model", "tiny", "--slots", str(slots), "--state-dir", str(state))
    process = await asyncio.create_subprocess_exec(sys.executable, *agent)
    try:
        await hub.has_spoke(lambda spoke: _is_there(spoke, slots), trials.START_S_MAX)
        yield
    finally:
        process.terminate()
        async with asyncio.timeout(trials.START_S_MAX):
            await process.wait()


def _is_there(spoke: SpokeStatus, slots: int) -> bool:
    """Whether it is `den` with all its slots, and has read the model's file, which a slow disk may make it list later."""
    has_model = "tiny" in {model.name for model in spoke.inventory.models}
    return (spoke.name, spoke.slots, has_model) == ("den", slots, True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ground(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ground]:
    """Run a hub with its gateway, a spoke that is a process with the real engine, and one with a skilled engine."""
    directory, home = tmp_path_factory.mktemp("ground"), tmp_path_factory.mktemp("home")
    engine = SkilledEngine(SLOTS)
    async with (
        a_gateway(directory, GatewayConfig(port=0)) as gateway,
        a_tiny_spoke(gateway.hub, directory, SLOTS),
        an_agent(gateway.hub, "attic", engine, slots=SLOTS),
    ):
        doomed = await trials.identity_of_the_doomed(gateway.hub)
        is_able = await trials.capabilities_of_tiny(gateway) >= trials.SKILLS
        yield trials.Ground(gateway, engine, SLOTS, home, doomed, trials.TINY if is_able else SKILLED)


@pytest.fixture(scope="session")
def node() -> str:
    """Give a Node for the example that is beside its packages by then."""
    found = tools_node.here()
    if found is None:
        pytest.skip(f"no Node {tools_node.MAJOR_MIN} or newer with npm here; `./justw node` brings one")
    try:
        tools_node.install(found)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"the packages of examples/node cannot be fetched, see `./justw node`: {error}")
    return found.program


@pytest.fixture(params=["ask.py", "plain_grpc.py", "ask.mjs"])
def client(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Give the words that start a client to which a model and a question are still to be added."""
    if request.param.endswith(".mjs"):
        return (request.getfixturevalue("node"), str(tools_node.COPY / request.param))
    return (sys.executable, str(ROOT / "examples" / request.param))
