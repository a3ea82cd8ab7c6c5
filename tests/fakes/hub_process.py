"""A hub in a process that tests kill, and start again."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from hub.server import Ports
from pki.files import HubAddresses
from tests.fakes.hub import make_mesh
from tests.fakes.ports import free_ports
from tests.fakes.real_hub import RealHub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

START_S = 30.0


class HubProcess(RealHub):
    """A real hub beside the test; `start`, `kill` and `died` are about its process."""

    process: asyncio.subprocess.Process
    orchestrator: tuple[str, ...] = ()
    journal = ""

    async def start(self, dies: str = "") -> None:
        """Run it until it is killed, or until it comes to where it *dies*."""
        told = {
            "directory": str(self.made.hub.directory),
            "mesh": self.ports.mesh,
            "enrol": self.ports.enrol,
            "orchestrator": self.orchestrator,
            "journal": self.journal,
            "dies": dies,
        }
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.fakes.dying_hub", json.dumps(told), stdout=asyncio.subprocess.PIPE
        )
        assert self.process.stdout is not None
        async with asyncio.timeout(START_S):
            assert await self.process.stdout.readline() == b"ready\n"

    async def kill(self) -> None:
        """End it as a loss of power would."""
        self.process.kill()
        await self.process.wait()

    async def died(self) -> None:
        """Wait until it has come to where it dies."""
        async with asyncio.timeout(START_S):
            await self.process.wait()

    async def restart(self) -> None:
        """Kill it, and start it again."""
        await self.kill()
        await self.start()


@asynccontextmanager
async def hub_process(
    directory: Path, *, dies: str = "", orchestrator: tuple[str, ...] = (), journal: str = ""
) -> AsyncIterator[HubProcess]:
    """Make a mesh in *directory*, and run its hub as a process."""
    made = make_mesh(directory)
    hub = HubProcess(directory, made, Ports(*free_ports(2)))
    hub.orchestrator, hub.journal = orchestrator, journal
    made.admin.save_addresses(HubAddresses(mesh=(hub.mesh,), enrol=(hub.enrol,)))  # type: ignore[arg-type]
    await hub.start(dies)
    try:
        yield hub
    finally:
        if hub.process.returncode is None:
            await hub.kill()
