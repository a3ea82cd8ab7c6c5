"""`spoke-agent run`."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

import click
import msgspec

from hubspoke import config, grpc_settings, logs, loop
from hubspoke.cli import options
from hubspoke.cli.failures import Exit, fail
from hubspoke.cli.prompts import read_token
from hubspoke.paths import locate
from pki.files import NodeFiles
from spoke.agent import serve
from spoke.cli.join import become_spoke
from spoke.config import SpokeConfig

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

log = logging.getLogger(__name__)


@click.command("run")
@options.config_file("spoke")
@click.option("--slots", type=click.IntRange(1, 256), help="Requests to run side by side, over all models.")
@click.option(
    "--model", "models", multiple=True, help="Offer this model; several times for several. Default: all."
)
@options.state_dir
def command(
    *, config_file: Path | None, slots: int | None, models: Sequence[str], state_dir: Path | None
) -> None:
    """Be a spoke until stopped.

    A machine that has not joined is asked for its token, if there is a terminal to ask at.

    SIGTERM or Ctrl-C finishes what runs and leaves; a second one leaves at once.
    """
    directory = locate(state_dir).spoke
    settings = config.load(
        SpokeConfig, "spoke", config_file or directory.parent / options.CONFIG_FILE, os.environ
    )
    settings = msgspec.structs.replace(
        settings, slots=slots or settings.slots, models=tuple(models) or settings.models
    )
    if not NodeFiles(directory).identity.exists():
        _join_here(directory)
    logs.configure(settings.log_level)
    grpc_settings.tell(log)
    loop.run(lambda: serve(settings, directory))


def _join_here(directory: Path) -> None:
    """Go on with a join that was begun, or let whoever sits at the terminal paste a token; where nobody does, end the command."""
    begun = NodeFiles(directory).load_token()
    if begun is not None:
        become_spoke(begun, directory)
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        fail(
            f"this machine is no spoke yet: there is no identity in {directory}. Get a token from an admin "
            "(`hubspoke token create NAME --role spoke`) and run `spoke-agent join`",
            Exit.IDENTITY,
        )
    click.echo(
        "This machine is no spoke yet. On the hub's machine, make a token for it:\n\n"
        "    hubspoke token create NAME --role spoke\n\n"
        "and paste here the line that it prints. Ctrl-C leaves everything as it is.",
        err=True,
    )
    become_spoke(read_token(None), directory)
