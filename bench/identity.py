"""What does identity cost? `just bench identity`.

The hub runs as users run it, in a process of its own; nodes join it through real tokens and connect with mutual TLS over
loopback. What a call's checks cost is measured inside a server with the hub's own gate.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from bench.identity_questions import Bed, Scale, authorisation, handshake, join, rejoin, renew, revocation
from bench.identity_rotation import rotation
from bench.processes import Mesh
from bench.report import machine, save, show

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bench.report import Section

    Question = Callable[[Bed], Awaitable[Section]]

FULL: Final = Scale(
    joins=50, renewals=100, rejoins=50, handshakes=100, calls=5_000, nodes=500, revoked=100, exchanged=60
)
QUICK: Final = Scale(
    joins=5, renewals=10, rejoins=5, handshakes=10, calls=500, nodes=20, revoked=5, exchanged=5
)

QUESTIONS: Final[dict[str, Question]] = {
    "join": join,
    "renew": renew,
    "rejoin": rejoin,
    "handshake": handshake,
    "authorisation": authorisation,
    "revocation": revocation,
    "rotation": rotation,
}


@click.command()
@click.option("--quick", is_flag=True, help="Measure less: enough to see that everything works.")
@click.option("--only", type=click.Choice(tuple(QUESTIONS)), help="Measure this alone.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("build/bench/identity.json"),
    show_default=True,
    help="Where every figure goes.",
)
def main(*, quick: bool, only: str | None, json_file: Path) -> None:
    """Measure what identity costs, on this machine."""
    about = machine()
    chosen = list(QUESTIONS) if only is None else [only]
    sections = asyncio.run(_measure(chosen, QUICK if quick else FULL))
    show("What identity costs", sections, about)
    save(json_file, sections, about)
    click.echo(f"every figure: {json_file}")


async def _measure(chosen: list[str], scale: Scale) -> list[Section]:
    with tempfile.TemporaryDirectory(prefix="hubspoke-bench-") as directory:
        mesh = Mesh(Path(directory))
        async with mesh.hub() as hub:
            bed = Bed(mesh, hub, scale)
            return [await QUESTIONS[name](bed) for name in chosen]


if __name__ == "__main__":
    main()
