"""A spoke that is there to be killed: `python -m tests.clients.doomed_spoke <directory> <hub>`.

It has the identity in the directory, and one model that says a word and then nothing more.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hubspoke.clock import SystemClock
from hubspoke.loop import run
from hubspoke.types import HostMemory
from pki.files import NodeFiles
from spoke.agent import Agent
from spoke.gpu.none import NoGpus
from spoke.link.machine import Machine
from tests.fakes.engine import FakeEngine, Gate, a_model

NAME = "doomed"


async def main() -> None:
    engine = FakeEngine(a_model(NAME, slots=1, digest="sha256:" + "d" * 64), script=("one ", Gate()))
    machine = Machine([engine], NoGpus(), lambda: HostMemory(1 << 34, 1 << 33))
    agent = Agent(
        NodeFiles(Path(sys.argv[1])),
        machine,
        hubs=(sys.argv[2],),
        slots=1,
        version="test",
        clock=SystemClock(),
        chance=lambda: 0.01,
    )
    await agent.run()


if __name__ == "__main__":
    run(main)
