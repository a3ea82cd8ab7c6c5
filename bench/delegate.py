"""What does durable delegation cost? `just bench delegate`.

The hub runs as users run it, in a process of its own, with a spoke that has a metronome for an engine. Clients hand work
over through the SDK and watch it. The same is asked of a PostgreSQL server of the bench's own, where that is installed, or of an
empty database that `--postgresql URL` names.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from bench.delegate_questions import Bed, Scale, accept, first_token_beside, recovery, takeover, throughput
from bench.processes import Mesh
from bench.report import machine, save, show
from tests.fakes.postgres import postgres, tool

if TYPE_CHECKING:
    from bench.report import Section

FULL: Final = Scale(accepts=300, delegations=60, firsts=300, killed=16, takeovers=9)
QUICK: Final = Scale(accepts=40, delegations=8, firsts=40, killed=4, takeovers=3)


@click.command()
@click.option("--quick", is_flag=True, help="Measure less: enough to see that everything works.")
@click.option(
    "--postgresql", metavar="URL", default="", help="Ask this empty database instead of a server of our own."
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("build/bench/delegate.json"),
    show_default=True,
    help="Where every figure goes.",
)
def main(*, quick: bool, postgresql: str, json_file: Path) -> None:
    """Measure what durable delegation costs, on this machine."""
    about = machine()
    with ExitStack() as running:
        if not postgresql and tool("initdb") is not None:
            postgresql = running.enter_context(postgres(is_safe=True)).database()
        sections = asyncio.run(_measure(QUICK if quick else FULL, postgresql))
    show("What durable delegation costs", sections, about)
    save(json_file, sections, about)
    click.echo(f"every figure: {json_file}")


async def _measure(scale: Scale, url: str) -> list[Section]:
    sections = await _on("SQLite", "", scale)
    return [*sections, *(await _on("PostgreSQL", url, scale) if url else ())]


async def _on(kind: str, url: str, scale: Scale) -> list[Section]:
    with tempfile.TemporaryDirectory(prefix="hubspoke-bench-") as directory:
        mesh = Mesh(Path(directory))
        try:
            async with mesh.hub(database_url=url) as hub, mesh.spoke("den", slots=64):
                bed = Bed(mesh, hub, kind, url, scale)
                sections = [await question(bed) for question in (accept, throughput, first_token_beside)]
            sections.append(await recovery(mesh, kind, url, scale))
            return [*sections, await takeover(mesh, kind, url, scale)] if url else sections
        except (OSError, RuntimeError):
            for name, text in mesh.logs().items():
                click.echo(f"--- {name} ---\n{text}", err=True)
            raise


if __name__ == "__main__":
    main()
