"""`hubspoke join`."""

from __future__ import annotations

from pathlib import Path

import click

from hubspoke import loop
from hubspoke.cli import options
from hubspoke.cli.output import write_json
from hubspoke.cli.prompts import read_token, tell_that_it_waits
from hubspoke.clock import SystemClock
from hubspoke.enrol import join
from hubspoke.paths import locate
from pki.files import NodeFiles
from pki.identity import Role


@click.command("join")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Read the token from this file; - is standard input. Default: a pipe, else ask for it.",
)
@click.option("--replace", is_flag=True, help="Give up the identity that is there.")
@options.state_dir
@options.as_json
def command(*, token_file: Path | None, replace: bool, state_dir: Path | None, as_json: bool) -> None:
    """Get an identity for yourself or an app with a join token.

    Somebody with an admin's identity makes the token with `hubspoke token create`. It works once, and it is
    never given on the command line, where other users of the machine could read it. Where an admin has to let you in, this
    waits for that; when it is interrupted, the same command goes on without the token.

    JSON: role, name, serial, expires_at, directory.
    """
    directory = locate(state_dir).client
    token = read_token(token_file, begun=NodeFiles(directory).load_token())
    roles = (Role.APP, Role.ADMIN)
    identity = loop.run(
        lambda: join(
            token,
            directory,
            roles=roles,
            clock=SystemClock(),
            replace=replace,
            waiting=tell_that_it_waits,
        ),
    )
    if as_json:
        write_json(
            {
                "role": identity.identity.role,
                "name": identity.identity.name,
                "serial": identity.serial,
                "expires_at": identity.not_after,
                "directory": str(directory),
            }
        )
        return
    click.echo(
        f"Joined as {identity.identity.role} {identity.identity.name!r}; the identity is in {directory}."
    )
    click.echo(
        f"It renews itself while it is used, and ends at {identity.not_after:%Y-%m-%d %H:%M} UTC otherwise."
    )
    click.echo("Next: `hubspoke models`, then `hubspoke ask MODEL PROMPT`.")
