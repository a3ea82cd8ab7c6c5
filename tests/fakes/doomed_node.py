"""A node that is killed at a step of joining, renewing or coming back, as by `kill -9` or a power cut.

    python -m tests.fakes.doomed_node {join,renew,rejoin} DIRECTORY MOMENT SECONDS_AHEAD < TOKEN

MOMENT counts the changes in DIRECTORY from 0: it dies when it is about to make that one. Between two of them it asks the
hub, so one of the moments is just before the question and the next one just after the answer.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from hubspoke import enrol
from hubspoke.channel import dial
from hubspoke.credentials import channel_credentials
from hubspoke.rejoin import valid_identity
from pki.files import NodeFiles
from pki.identity import Role
from tests.fakes.clock import MovableClock

CHANGES = frozenset({"os.mkdir", "os.rename", "os.remove"})


def die_at(moment: int, directory: Path) -> None:
    """Have the system kill this process when it is about to make change number *moment* in *directory*."""
    left = moment

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal left
        if not _is_a_change(event, args) or not str(args[0]).startswith(str(directory)):
            return
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    sys.addaudithook(hook)


def _is_a_change(event: str, args: tuple[object, ...]) -> bool:
    if event == "open":
        _, _, flags = args
        return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))
    return event in CHANGES


async def renew(files: NodeFiles, clock: MovableClock) -> None:
    """Get the next certificate over a connection that shows the one at hand."""
    current = files.load_identity()
    credentials = channel_credentials(current, files.load_anchors(now=clock.now()))
    async with await dial(files.load_addresses().mesh, credentials) as channel:
        await enrol.renew(channel, files, current, clock)


def main() -> None:
    what, directory, moment, ahead_s = sys.argv[1:]
    files, clock = NodeFiles(Path(directory)), MovableClock()
    clock.set_day(float(ahead_s))
    token = sys.stdin.read()
    die_at(int(moment), files.directory)
    match what:
        case "join":
            asyncio.run(enrol.join(token, files.directory, roles=[Role.SPOKE], clock=clock))
        case "renew":
            asyncio.run(renew(files, clock))
        case "rejoin":
            asyncio.run(valid_identity(files, clock))


if __name__ == "__main__":
    main()
