"""The double of Ollama as a program, for where there is no Ollama: `python -m tests.fakes.ollama_program --port 11434`.

It has the models that come with Hubspoke, and those of the folders that are named.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from contextlib import suppress
from pathlib import Path

from hubspoke.clock import SystemClock
from hubspoke.types import LoadPlan
from spoke.engines.llamacpp.build import Build
from spoke.engines.llamacpp.engine import EmbeddedEngine
from spoke.gpu.none import NoGpus
from spoke.models.store import SHIPPED, ModelStore
from spoke.platform import here
from tests.fakes.ollama_server import an_ollama


async def run(port: int, slots: int, folders: list[Path]) -> None:
    """Serve until the task is cancelled."""
    with tempfile.TemporaryDirectory() as scratch:
        store = ModelStore([SHIPPED, *folders], Path(scratch) / "catalogue.json")
        clock = SystemClock()
        plan = LoadPlan(slots, context_tokens=2048)
        engine = EmbeddedEngine(
            store, plan=plan, platform=here(), clock=clock, build=Build(clock), cards=NoGpus()
        )
        try:
            while not {"tiny", "nano"} <= {model.name for model in await store.models()}:
                pass  # a listing waits for files that are read, but not for ever
            async with an_ollama(engine, store, parallel=slots, port=port) as double:
                print(f"ready {double.url}", flush=True)  # noqa: T201  # whoever started it reads this
                await asyncio.Event().wait()
        finally:
            await store.aclose()


def main() -> None:
    """Read the command line, and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--slots", type=int, default=2, help="requests that a model runs side by side")
    parser.add_argument("folders", nargs="*", type=Path, help="where more GGUF files are")
    told = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(run(told.port, told.slots, told.folders))


if __name__ == "__main__":
    main()
