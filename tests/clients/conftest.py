"""A mesh with the real engine, and the example programs as people start them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from pki.identity import Role
from tests.fakes.home import ROOT, Home, joined
from tests.fakes.real_hub import WAIT_S, real_hub
from tools import node as tools_node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SLOTS = 2


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Home]:
    """Run a hub, and a spoke that is a process with the real engine and the shipped model; give an app's home."""
    directory = tmp_path_factory.mktemp("mesh")
    async with real_hub(directory) as hub:
        home = await joined(hub, directory / "home")
        files = await hub.join("den", Role.SPOKE)
        state = directory / "state"
        state.mkdir()
        files.directory.rename(state / "spoke")
        agent = ("-m", "spoke", "--model", "tiny", "--slots", str(SLOTS), "--state-dir", str(state))
        process = await asyncio.create_subprocess_exec(sys.executable, *agent)
        try:
            await hub.is_listed("den", SLOTS)
            yield home
        finally:
            process.terminate()
            async with asyncio.timeout(WAIT_S):
                await process.wait()


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
