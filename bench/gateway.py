"""What does the HTTP gateway cost? `just bench gateway`.

Everything runs on this machine, each part in a process of its own and where possible in a network that nobody else is
in: the hub and a spoke as users run them, engines, clients, and with `--peer` what else could stand between them.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import click

from bench import own_network
from bench.gateway_bed import Scale, bed, engines
from bench.gateway_questions import cost, first_text, first_text_of_llama, memory, rss_mib, streams
from bench.peers import HERD, PEERS, install
from bench.processes import Mesh
from bench.report import Row, Section, machine, save, show
from hubspoke import loop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import FrameType

    from bench.gateway_bed import Bed, Engines

    Question = Callable[[Bed], Awaitable[Section]]

FULL: Final = Scale(rounds=20, requests=20, warm_up=50, bursts=9, tokens=200, warm_s=2, window_s=10)
QUICK: Final = Scale(rounds=4, requests=5, warm_up=5, bursts=2, tokens=200, warm_s=0.5, window_s=1)

COST: Final = "cost"
SECURE: Final = "https"
QUESTIONS: Final[dict[str, Question]] = {
    "ttft": first_text,
    "llama": first_text_of_llama,
    "streams": streams,
    COST: cost,
}
SECURE_QUESTIONS: Final = (first_text, streams, cost)
GATHERED_MS: Final = 50
"""What the hub asks of spokes by itself once as many answers are under way; answers that have begun go on as before."""


@click.command()
@click.option("--quick", is_flag=True, help="Measure less: enough to see that everything works.")
@click.option("--only", type=click.Choice((*QUESTIONS, SECURE)), help="Measure this alone, and memory.")
@click.option(
    "--peer", "peers", multiple=True, type=click.Choice(tuple(PEERS)), help="Measure it side by side."
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("build/bench/gateway.json"),
    show_default=True,
    help="Where every figure goes.",
)
def main(*, quick: bool, only: str | None, peers: tuple[str, ...], json_file: Path) -> None:
    """Measure what the HTTP gateway costs, on this machine."""
    signal.signal(signal.SIGTERM, _leave)
    about = machine()
    absent = {name: why for name in peers if (why := install(name))}
    alone = own_network.enter()
    if alone:
        absent |= {SECURE: alone} | ({HERD: alone} if HERD in peers else {})
    present = tuple(name for name in peers if name not in absent)
    chosen = frozenset({*QUESTIONS, SECURE} if only is None else {only}) - absent.keys()
    sections = loop.run(partial(_measure, chosen, QUICK if quick else FULL, present))
    sections.append(
        Section("left_out", absent, [Row(f"left out: {name}", why) for name, why in absent.items()])
    )
    show("What the gateway costs", sections, about)
    save(json_file, sections, about)
    click.echo(f"every figure: {json_file}")


async def _measure(chosen: frozenset[str], scale: Scale, peers: tuple[str, ...]) -> list[Section]:
    with tempfile.TemporaryDirectory(prefix="hubspoke-bench-") as directory:
        mesh = Mesh(Path(directory))
        try:
            async with engines(mesh, Path(directory)) as servers:
                return [
                    *await _plain(mesh, scale, servers, chosen, peers),
                    *(await _gathered(mesh, scale, servers) if COST in chosen else ()),
                    *(await _secure(mesh, scale, servers) if SECURE in chosen else ()),
                ]
        except (OSError, RuntimeError):
            for name, text in mesh.logs().items():
                click.echo(f"--- {name} ---\n{text}", file=sys.stderr)
            raise


async def _plain(
    mesh: Mesh, scale: Scale, servers: Engines, chosen: frozenset[str], peers: tuple[str, ...]
) -> list[Section]:
    async with bed(mesh, scale, servers, peers=peers) as one:
        loaded_mib = rss_mib(one.hub)
        sections = [await question(one) for name, question in QUESTIONS.items() if name in chosen]
        return [*sections, memory(one, loaded_mib)]


async def _gathered(mesh: Mesh, scale: Scale, servers: Engines) -> list[Section]:
    async with bed(mesh, scale, servers, flush_ms=GATHERED_MS) as one:
        return [await cost(one)]


async def _secure(mesh: Mesh, scale: Scale, servers: Engines) -> list[Section]:
    async with bed(mesh, scale, servers, is_secure=True) as one:
        return [await question(one) for question in SECURE_QUESTIONS]


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """End as Ctrl-C does, so that every process that was started is ended, too."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
