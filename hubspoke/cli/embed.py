"""`hubspoke embed`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from hubspoke import loop
from hubspoke.channel import MESSAGE_BYTES_MAX
from hubspoke.cli import options
from hubspoke.cli.output import write_json
from hubspoke.cli.streams import read_text
from hubspoke.cli.terminal import one_line
from hubspoke.client import MeshClient
from hubspoke.paths import locate
from hubspoke.wire.allowed import DIMENSIONS_MAX

if TYPE_CHECKING:
    from pathlib import Path

    from hubspoke.gathered import Vectors
    from pki.address import Address

NUMBERS_SHOWN: Final = 4
CHARS_SHOWN: Final = 40


@click.command("embed")
@options.model
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option("--dimensions", type=click.IntRange(1, DIMENSIONS_MAX), help="Cut the vectors to this length.")
@options.of_a_client
def command(
    *,
    model: str,
    texts: tuple[str, ...],
    dimensions: int | None,
    hubs: tuple[Address, ...],
    state_dir: Path | None,
    as_json: bool,
) -> None:
    """Turn each TEXT into a vector, whose direction is its meaning.

    A TEXT of - reads standard input, where every line is a text.

    JSON: vectors in the order of the texts, started (spoke, model, model_key, queue_s, attempt, also_named) and
    finished (reason, usage).
    """
    inputs = _inputs(texts)

    async def ask() -> Vectors:
        async with MeshClient(locate(state_dir).client, hubs) as mesh:
            return await mesh.embed(model, inputs, dimensions=dimensions or 0)

    made = loop.run(ask)
    if as_json:
        write_json({"vectors": made.vectors, "started": made.started, "finished": made.finished})
        return
    for text, vector in zip(inputs, made.vectors, strict=True):
        first = ", ".join(f"{number:+.4f}" for number in vector[:NUMBERS_SHOWN])
        more = ", ..." if len(vector) > NUMBERS_SHOWN else ""
        click.echo(f"[{first}{more}]  {one_line(text)[:CHARS_SHOWN]}")
    click.echo(_served(made), err=True)


def _inputs(texts: tuple[str, ...]) -> tuple[str, ...]:
    if texts == ("-",) or (not texts and not sys.stdin.isatty()):
        lines = read_text(MESSAGE_BYTES_MAX + 1).splitlines()
        texts = tuple(line for line in lines if line)
    if not texts:
        raise click.UsageError("there is no text; give one or more, or - to read lines from standard input")
    return texts


def _served(made: Vectors) -> str:
    count, length = len(made.vectors), len(made.vectors[0])
    vectors = "1 vector" if count == 1 else f"{count} vectors"
    return one_line(
        f"{made.started.model} on {made.started.spoke}: {vectors} of {length} numbers, "
        f"{made.finished.usage.prompt_tokens} tokens"
    )
