"""`spoke-agent join`."""

from __future__ import annotations

from pathlib import Path

import click

from hubspoke import loop
from hubspoke.cli import options
from hubspoke.cli.prompts import read_token, tell_that_it_waits
from hubspoke.clock import SystemClock
from hubspoke.enrol import join
from hubspoke.paths import locate
from pki.disk import make_directory
from pki.files import NodeFiles
from pki.identity import Role
from spoke.config import SpokeConfig


@click.command("join")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Read the token from this file; - is standard input. Default: a pipe, else ask for it.",
)
@click.option("--replace", is_flag=True, help="Give up the identity that is there.")
@options.state_dir
def command(*, token_file: Path | None, replace: bool, state_dir: Path | None) -> None:
    """Get this machine's identity as a spoke with a join token.

    An admin makes the token with `hubspoke token create`. It works once, and it is never given on the command line,
    where other users of the machine could read it. Where an admin has to let this machine in, this waits for that; when it
    is interrupted, the same command, or `spoke-agent` alone, goes on without the token.
    """
    directory = locate(state_dir).spoke
    become_spoke(read_token(token_file, begun=NodeFiles(directory).load_token()), directory, replace=replace)
    click.echo("Next: `spoke-agent`.")


def become_spoke(token: str, directory: Path, *, replace: bool = False) -> None:
    """Trade *token* for an identity in *directory*, make a place for models there, and say so."""
    stored = loop.run(
        lambda: join(
            token,
            directory,
            roles=(Role.SPOKE,),
            clock=SystemClock(),
            replace=replace,
            waiting=tell_that_it_waits,
        )
    )
    models = SpokeConfig().models_folder(directory)
    make_directory(models)
    click.echo(f"Joined as spoke {stored.identity.name!r}; the identity is in {directory}.")
    click.echo(f"It renews itself while the agent runs. Models, as GGUF files, go to {models}.")
