"""Run the demo: `just demo`, or `python -m examples.demo`."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from examples.demo.events import Failed
from examples.demo.mesh import CLOCK
from examples.demo.plain import PlainShow
from examples.demo.programs import Failure, Programs, last_lines
from examples.demo.screen import ScreenShow
from examples.demo.show import JsonShow
from examples.demo.story import play
from hubspoke.errors import MeshError
from pki.errors import PkiError

if TYPE_CHECKING:
    from types import FrameType

    from examples.demo.show import Show

DONE: Final = 0
FAILED: Final = 1
INTERRUPTED: Final = 130
WIDTH_MAX: Final = 110
"""Wider than that, lines are hard to follow."""

LAST_MOMENT_S = 1.0
LOOK_S = 0.02


def main() -> int:
    """Play the demo and give its exit code; nothing that it started runs any more then."""
    arguments = _arguments()
    _treat_every_end_as_ctrl_c()
    try:
        # Windows keeps a log open for a moment longer than the program that wrote it.
        with tempfile.TemporaryDirectory(prefix="hubspoke-demo-", ignore_cleanup_errors=True) as directory:
            state = Path(directory)
            with Programs(state) as programs:
                # Not uvloop: it starts programs by fork, which gRPC complains about on standard error.
                return asyncio.run(_perform(state, programs, _show(arguments), keep=arguments.keep))
    except KeyboardInterrupt:
        print("\nInterrupted; all of it is gone.", file=sys.stderr)
        return INTERRUPTED


async def _perform(state: Path, programs: Programs, show: Show, *, keep: bool) -> int:
    status = DONE
    try:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(programs.watch())
            await play(state, programs, show, stay=_until_ctrl_c if keep else None)
            watching.cancel()
    except* (Failure, MeshError, PkiError) as errors:
        show.tell(_failed(_first(errors), programs))
        status = FAILED
    except* BrokenPipeError:
        # Nobody reads any more. Python would complain once again when it writes out the rest at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = FAILED
    return status


def _failed(error: Exception, programs: Programs) -> Failed:
    """Say what is behind *error*: most likely a program that has ended, which the mesh then misses."""
    failure = error if isinstance(error, Failure) else _casualty(programs)
    if failure is None:
        return Failed(str(error), advice="Run the demo again; if that does not help, please report it.")
    if failure.log is None:
        return Failed(failure.message, failure.advice)
    return Failed(failure.message, failure.advice, failure.log.stem, last_lines(failure.log))


def _casualty(programs: Programs) -> Failure | None:
    """Give the failure of a program that has ended. Its connections go a moment before it does, so it gets that."""
    until = time.monotonic() + LAST_MOMENT_S
    while (failure := programs.casualty()) is None and time.monotonic() < until:
        time.sleep(LOOK_S)
    return failure


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    """Give an error of *errors* that is none of ours to make: groups may hold groups."""
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first


async def _until_ctrl_c() -> None:
    """Wait for Ctrl-C, which is here the way to end well."""
    pressed, loop = asyncio.Event(), asyncio.get_running_loop()

    def press(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(pressed.set)

    before = signal.signal(signal.SIGINT, press)
    try:
        await pressed.wait()
    finally:
        signal.signal(signal.SIGINT, before)


def _treat_every_end_as_ctrl_c() -> None:
    """Clean up also when the terminal is closed or somebody sends SIGTERM."""
    for name in ("SIGTERM", "SIGHUP", "SIGBREAK"):  # each system lacks some of them
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda _number, _frame: signal.raise_signal(signal.SIGINT))


def _show(arguments: argparse.Namespace) -> Show:
    console = Console(highlight=False)
    if arguments.json:
        return JsonShow(sys.stdout, CLOCK)
    if arguments.plain or not console.is_terminal or console.is_dumb_terminal:
        return PlainShow(sys.stdout, CLOCK)
    return ScreenShow(Console(highlight=False, width=min(console.width, WIDTH_MAX)), CLOCK)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="just demo",
        description="Make a whole mesh on this machine, ask it questions, kill a part of it, and take it all away.",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--plain", action="store_true", help="plain lines; what happens without a terminal, too")
    how.add_argument("--json", action="store_true", help="one JSON object a line for each event")
    parser.add_argument("--keep", action="store_true", help="leave the mesh running at the end, until Ctrl-C")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
