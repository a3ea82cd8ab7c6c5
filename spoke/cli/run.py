"""`spoke-agent run`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
import msgspec

from hubspoke import config, logs, loop
from hubspoke.cli import options
from hubspoke.cli.failures import Exit, fail
from hubspoke.paths import locate
from pki.errors import NotEnrolled
from spoke.agent import serve
from spoke.config import SpokeConfig

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


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

    SIGTERM or Ctrl-C finishes what runs and leaves; a second one leaves at once.
    """
    directory = locate(state_dir).spoke
    settings = config.load(
        SpokeConfig, "spoke", config_file or directory.parent / options.CONFIG_FILE, os.environ
    )
    settings = msgspec.structs.replace(
        settings, slots=slots or settings.slots, models=tuple(models) or settings.models
    )
    logs.configure(settings.log_level)
    try:
        loop.run(lambda: serve(settings, directory))
    except NotEnrolled:
        fail(
            f"this machine is no spoke yet: there is no identity in {directory}. Get a token from an admin "
            "(`hubspoke token create NAME --role spoke`) and run `spoke-agent join`",
            Exit.IDENTITY,
        )
