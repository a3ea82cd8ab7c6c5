"""Run the demo: `just demo-delegate`, or `python -m examples.demo_delegate`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from examples.demo.events import Step
from examples.demo.programs import Failure, Programs, last_lines
from examples.demo_delegate.story import play
from hubspoke.errors import MeshError
from pki.errors import PkiError

if TYPE_CHECKING:
    from examples.demo.events import Event

DONE = 0
FAILED = 1
INTERRUPTED = 130


def main() -> int:
    """Play the demo and give its exit code; nothing that it started runs any more then."""
    arguments = _arguments()
    console = Console(highlight=False, force_terminal=False if arguments.plain else None)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="hubspoke-delegate-", ignore_cleanup_errors=True) as directory,
            Programs(Path(directory)) as programs,
        ):
            return asyncio.run(_perform(Path(directory), programs, console))
    except KeyboardInterrupt:
        print("\nInterrupted; all of it is gone.", file=sys.stderr)
        return INTERRUPTED


async def _perform(state: Path, programs: Programs, console: Console) -> int:
    def tell(event: Event) -> None:
        if isinstance(event, Step):
            command = f"  ({event.command})" if event.command else ""
            console.print(f"  {event.what}{command}  {event.took_s:.1f} s", markup=False)

    try:
        return DONE if await play(state, programs, console, tell) else FAILED
    except (Failure, MeshError, PkiError) as error:
        console.print(f"Failed: {error}", markup=False)
        if isinstance(error, Failure) and error.log is not None:
            console.print("\n".join(last_lines(error.log)), markup=False)
        return FAILED


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="just demo-delegate",
        description="Hand a goal over a folder of texts to a mesh, kill its hub in the middle, and count what was done.",
    )
    parser.add_argument(
        "--plain", action="store_true", help="plain lines; what happens without a terminal, too"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
