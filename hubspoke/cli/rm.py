"""`hubspoke rm`."""

from __future__ import annotations

import sys
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


@click.command("rm")
@options.model
@click.option(
    "--spoke",
    default="",
    shell_complete=names.complete_spokes,
    help="Where. Default: on every connected spoke that has it.",
)
@click.option("--yes", is_flag=True, help="Do not ask first.")
@options.of_a_client
def command(
    *, model: str, spoke: str, yes: bool, hubs: tuple[Address, ...], state_dir: Path | None, as_json: bool
) -> None:
    """Delete MODEL from the disks of spokes. An admin's identity is needed.

    By a name goes whatever is called so; by a key or a digest that model under all its names. Refused where it runs.

    JSON: spokes, those where it was.
    """
    if not yes:
        _ask_first(model, spoke)

    async def ask() -> tuple[SpokeId, ...]:
        async with AdminClient(locate(state_dir).client, hubs) as mesh:
            return await mesh.delete(model, spoke=spoke)

    with for_admins():
        spokes = loop.run(ask)
    if as_json:
        write_json({"spokes": spokes})
    else:
        click.echo(one_line(f"{model} is deleted on {', '.join(spokes)}"))


def _ask_first(model: str, spoke: str) -> None:
    """Let somebody at a terminal think twice; who is not there has to have said --yes."""
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask whether that is meant; give --yes")
    where = f"the disk of {spoke}" if spoke else "the disk of every spoke that has it"
    click.confirm(one_line(f"Delete {model} from {where}?"), abort=True, err=True)
