"""What does the hub cost? `just bench relay`.

Everything runs on this machine over loopback with mutual TLS, each part in a process of its own: the hub as users
run it, whole spokes with a metronome for an engine, clients that connect as the SDK does.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import click

from bench.processes import Mesh
from bench.questions import STREAMS, Bed, Scale, first_token, idle, stall, streams
from bench.report import machine, save, show

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import FrameType

    from bench.report import Section

    Question = Callable[[Bed], Awaitable[Section]]

FULL: Final = Scale(rounds=20, requests=20, warm_up=100, warm_s=2, window_s=10, idle_spokes=4, idle_slots=250)
QUICK: Final = Scale(
    rounds=6, requests=10, warm_up=20, warm_s=0.2, window_s=0.6, idle_spokes=1, idle_slots=200
)

QUESTIONS: Final[dict[str, Question]] = {
    "ttft": first_token,
    "stall": stall,
    "idle": idle,
    "streams": streams,
}
PLAN: Final = {15: ("ttft", "stall", "streams"), 50: ("idle", "streams")}
"""What is asked with which flush, in milliseconds, and in which order: memory comes before what takes most of it."""


@click.command()
@click.option("--quick", is_flag=True, help="Measure less: enough to see that everything works.")
@click.option("--only", type=click.Choice(tuple(QUESTIONS)), help="Measure this alone.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("build/bench/relay.json"),
    show_default=True,
    help="Where every figure goes.",
)
def main(*, quick: bool, only: str | None, json_file: Path) -> None:
    """Measure what the hub costs, on this machine."""
    signal.signal(signal.SIGTERM, _leave)
    about = machine()
    chosen = frozenset(QUESTIONS) if only is None else frozenset({only})
    sections = asyncio.run(_measure(chosen, QUICK if quick else FULL))
    show("What the relay costs", sections, about)
    save(json_file, sections, about)
    click.echo(f"every figure: {json_file}")


async def _measure(chosen: frozenset[str], scale: Scale) -> list[Section]:
    sections: list[Section] = []
    with tempfile.TemporaryDirectory(prefix="hubspoke-bench-") as directory:
        mesh = Mesh(Path(directory))
        try:
            for flush_ms, names in PLAN.items():
                questions = [QUESTIONS[name] for name in names if name in chosen]
                if questions:
                    sections += await _ask(mesh, flush_ms, scale, questions)
        except (OSError, RuntimeError):
            for name, text in mesh.logs().items():
                click.echo(f"--- {name} ---\n{text}", file=sys.stderr)
            raise
    return sections


async def _ask(mesh: Mesh, flush_ms: int, scale: Scale, questions: list[Question]) -> list[Section]:
    async with mesh.hub(flush_ms) as hub, mesh.spoke("den", slots=STREAMS) as spoke:
        bed = Bed(mesh, hub, spoke, flush_ms, scale)
        return [await question(bed) for question in questions]


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """End as Ctrl-C does, so that every process that was started is ended, too."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
