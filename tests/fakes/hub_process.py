"""A hub in a process that tests kill, and start again."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from hub.ports import Ports
from hubspoke.clock import SystemClock
from pki.address import parse_host
from pki.files import HubAddresses, HubFiles
from pki.identity import NodeName
from pki.setup import add_hub
from tests.fakes.hub import MeshOnDisk, make_mesh
from tests.fakes.pauses import pause
from tests.fakes.ports import free_ports
from tests.fakes.real_hub import RealHub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from hubspoke.types import SpokeStatus

START_S = 60.0
"""Longest wait for a hub that starts, with all that it loads, on a machine that starts others beside it."""

POLL_S = 0.02


class HubProcess(RealHub):
    """A real hub beside the test; `start`, `kill` and `died` are about its process."""

    process: asyncio.subprocess.Process
    orchestrator: tuple[str, ...] = ()
    journal = ""

    async def start(self, dies: str = "") -> None:
        """Run it until it is killed, or until it comes to where it *dies*, and wait until it serves."""
        await self.launch(dies)
        await self.listens()

    async def launch(self, dies: str = "") -> None:
        """Run it as `start` does, which may only stand by."""
        told = {
            "directory": str(self.made.hub.directory),
            "mesh": self.ports.mesh,
            "enrol": self.ports.enrol,
            "gateway": self.ports.gateway[0] if self.ports.gateway else 0,
            "orchestrator": self.orchestrator,
            "journal": self.journal,
            "dies": dies,
        }
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.fakes.dying_hub", json.dumps(told)
        )

    async def listens(self, port: int = 0) -> None:
        """Wait until it serves the mesh, or is behind another *port* of its own."""
        async with asyncio.timeout(START_S):
            while not await self.is_listening(port):
                assert self.process.returncode is None
                await pause(POLL_S)

    async def is_listening(self, port: int = 0) -> bool:
        """Whether it serves the mesh, or is behind another *port* of its own."""
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port or self.ports.mesh)
        except OSError:
            return False
        writer.close()
        return True

    async def has_spoke(self, is_so: Callable[[SpokeStatus], bool], wait_s: float = START_S) -> SpokeStatus:
        """Wait until the hub lists a spoke of which *is_so* is true; its process may have to share the machine."""
        return await super().has_spoke(is_so, wait_s)

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
    directory: Path,
    *,
    dies: str = "",
    orchestrator: tuple[str, ...] = (),
    journal: str = "",
    gateway: bool = False,
) -> AsyncIterator[HubProcess]:
    """Make a mesh in *directory*, and run its hub as a process, with its HTTP gateway when one is wanted."""
    made = make_mesh(directory)
    mesh, enrol, web = free_ports(3)
    hub = HubProcess(directory, made, Ports(mesh, enrol, (web,) if gateway else ()))
    hub.orchestrator, hub.journal = orchestrator, journal
    made.admin.save_addresses(HubAddresses(mesh=(hub.mesh,), enrol=(hub.enrol,)))  # type: ignore[arg-type]
    await hub.start(dies)
    try:
        yield hub
    finally:
        if hub.process.returncode is None:
            await hub.kill()


@asynccontextmanager
async def stand_by(hub: HubProcess, name: str, journal: str = "") -> AsyncIterator[HubProcess]:
    """Make keys for one more hub beside *hub*, and run it; it shares the journal, which it may reach in another way."""
    files = HubFiles(hub.directory / name / "hub")
    add_hub(hub.made.hub, files, NodeName(name), (parse_host("localhost"),), now=SystemClock().now())
    other = HubProcess(hub.directory, MeshOnDisk(files, hub.admin), Ports(*free_ports(2)))
    other.orchestrator, other.journal = hub.orchestrator, journal or hub.journal
    await other.launch()
    try:
        yield other
    finally:
        if other.process.returncode is None:
            await other.kill()
