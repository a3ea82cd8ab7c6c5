"""A hub that exchanges its root in a process of its own, and is killed at the moment that was asked for.

    python -m tests.fakes.doomed_hub DIRECTORY MOMENT

A moment is a file that is opened to be written, or that takes the place of another, below DIRECTORY/hub; they are counted
from 1 once the hub runs. The hub goes through every phase that is left, and ends by itself after the last.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from hubspoke.admin import AdminClient
from hubspoke.clock import SystemClock
from pki.files import HubFiles, NodeFiles
from pki.rotation import Kind
from tests.fakes.hub import MeshOnDisk
from tests.fakes.real_hub import FREE_PORTS, hub_of
from tests.fakes.rotating import begin, finish


def die_at(moment: int, below: str) -> None:
    left = moment

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        is_write = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if (is_write or event == "os.rename") and str(arguments[0]).startswith(below):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


async def main(directory: Path, moment: int) -> None:
    made = MeshOnDisk(HubFiles(directory / "hub"), NodeFiles(directory / "client"))
    async with hub_of(made, directory, FREE_PORTS, SystemClock()) as hub:
        die_at(moment, str(directory / "hub"))
        async with AdminClient(hub.admin.directory) as admin:
            info = await admin.authorities()
        if info.rotation is None and info.generation == 1:
            info = await begin(hub, Kind.ROOT)
        await finish(hub, Kind.ROOT, info)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
