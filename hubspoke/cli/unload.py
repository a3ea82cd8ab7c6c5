"""`hubspoke unload`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hubspoke import loop
from hubspoke.admin import AdminClient
from hubspoke.cli import names, options
from hubspoke.cli.failures import for_admins
from hubspoke.cli.output import write_json
from hubspoke.cli.terminal import one_line
from hubspoke.paths import locate

if TYPE_CHECKING:
    from pathlib import Path

    from hubspoke.types import SpokeId
    from pki.address import Address


@click.command("unload")
@options.model
@click.option("--spoke", default="", shell_complete=names.complete_spokes, help="Where. Default: everywhere.")
@options.of_a_client
def command(
    *, model: str, spoke: str, hubs: tuple[Address, ...], state_dir: Path | None, as_json: bool
) -> None:
    """Take MODEL out of memory, and unpin it. An admin's identity is needed.

    Refused where it runs; the next question brings it back.

    JSON: spokes, those where it was in memory.
    """

    async def ask() -> tuple[SpokeId, ...]:
        async with AdminClient(locate(state_dir).client, hubs) as mesh:
            return await mesh.unload(model, spoke=spoke)

    with for_admins():
        spokes = loop.run(ask)
    if as_json:
        write_json({"spokes": spokes})
    elif spokes:
        click.echo(one_line(f"{model} has left memory on {', '.join(spokes)}"))
    else:
        click.echo(one_line(f"{model} was not in memory{f' on {spoke}' if spoke else ''}"))
