"""A home directory that `hubspoke join` has written to, and programs that run there as people run them."""

from __future__ import annotations

import asyncio
import os
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pki.identity import Role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fakes.real_hub import RealHub

ROOT = Path(__file__).parent.parent.parent
RUN_S_MAX = 30.0


@dataclass(frozen=True)
class Ran:
    """What a program has left behind."""

    status: int
    output: str
    errors: str


@dataclass(frozen=True)
class Home:
    """A home directory."""

    path: Path

    @asynccontextmanager
    async def started(self, *command: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run *command* here without any setting; it has ended when the block has."""
        settings = ("HUBSPOKE_", "XDG_", "LOCALAPPDATA")
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(settings)}
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env={**inherited, "HOME": str(self.path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def run(self, *command: str) -> Ran:
        """Run *command* to its end."""
        async with self.started(*command) as process, asyncio.timeout(RUN_S_MAX):
            output, errors = await process.communicate()
        assert process.returncode is not None
        return Ran(process.returncode, output.decode(), errors.decode())


async def joined(hub: RealHub, home: Path) -> Home:
    """Make a home whose owner has joined as an app."""
    files = await hub.join("laptop", Role.APP)
    (home / ".config").mkdir(parents=True)
    files.directory.rename(home / ".config" / "hubspoke")
    return Home(home)
