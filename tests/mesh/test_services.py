"""Hub and spoke as services: what their service manager hears from beginning to end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from hubspoke.notify import WATCHDOG_VARIABLE
from pki.identity import Role
from tests.fakes.hub import make_mesh
from tests.fakes.mesh_hub import soon
from tests.fakes.service_manager import ServiceManager, service_manager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such sockets")


@pytest.fixture
def manager(tmp_path):
    with service_manager(str(tmp_path / "notify")) as listening:
        yield listening


@asynccontextmanager
async def a_service(
    manager: ServiceManager, *command: str, state: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *command, "--state-dir", str(state)),
        env={
            **os.environ,
            **manager.environment,
            # A manager's socket holds ten messages and drops the rest: a test that stalls must not lose what matters.
            WATCHDOG_VARIABLE: "2000000",
            "HUBSPOKE_GATEWAY_PORT": "0",
        },
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_hub_is_ready_alive_and_stopping(manager, tmp_path):
    make_mesh(tmp_path)
    ports = ("--listen", "127.0.0.1", "--mesh-port", "0", "--enrol-port", "0")
    async with a_service(manager, "hub", "run", *ports, state=tmp_path) as process:
        _, status = await manager.hears("READY=1")
        assert status.startswith("STATUS=listening on ports ")
        assert await manager.hears("WATCHDOG=1")
        process.send_signal(signal.SIGTERM)
        assert await manager.hears("STOPPING=1")
        assert await soon(process.wait()) == 0


async def test_a_spoke_is_ready_once_it_knows_its_machine(manager, hub, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    files = await hub.join("den", Role.SPOKE)
    files.directory.rename(state / "spoke")
    async with a_service(manager, "spoke", "run", "--model", "tiny", state=state) as process:
        _, status = await manager.hears("READY=1")
        # None yet where the engine takes longer for its first look than a spoke waits.
        assert re.fullmatch(r"STATUS=models: [01], cards: \d+", status)
        assert await manager.hears("WATCHDOG=1")
        process.send_signal(signal.SIGTERM)
        assert await manager.hears("STOPPING=1")
        assert await soon(process.wait()) == 0
