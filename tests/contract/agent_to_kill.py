"""A process with an embedded engine, for tests that kill it: `python -m tests.contract.agent_to_kill <state dir>`.

Prints a line when its model is loaded.
"""

import asyncio
import sys
from pathlib import Path

from hubspoke.clock import SystemClock
from hubspoke.loop import run
from hubspoke.types import LoadPlan
from spoke.engines.llamacpp.build import Build
from spoke.engines.llamacpp.engine import EmbeddedEngine
from spoke.gpu.none import NoGpus
from spoke.models.store import SHIPPED, ModelStore
from spoke.platform import here


async def main() -> None:
    store = ModelStore([SHIPPED], Path(sys.argv[1]) / "catalogue.json")
    engine = EmbeddedEngine(
        store,
        plan=LoadPlan(1, 2048),
        platform=here(),
        clock=SystemClock(),
        build=Build(SystemClock()),
        cards=NoGpus(),
    )
    while "tiny" not in {model.name for model in await store.models()}:
        pass  # a listing waits for files that are read, but not for ever
    await engine.load("tiny", 2048)
    sys.stdout.write("loaded\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    run(main)
