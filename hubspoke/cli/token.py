"""`hubspoke token`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from hubspoke import loop
from hubspoke.admin import AdminClient
from hubspoke.cli import options
from hubspoke.cli.failures import for_admins
from hubspoke.cli.output import span, write_json
from hubspoke.clock import SystemClock
from hubspoke.paths import locate
from pki.identity import Role

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path

    from hubspoke.admin import IssuedToken
    from pki.address import Address

_PROGRAM: Final = {Role.SPOKE: "spoke-agent join", Role.APP: "hubspoke join", Role.ADMIN: "hubspoke join"}


@click.group("token")
def command() -> None:
    """Make join tokens."""


@command.command("create")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([role.value for role in _PROGRAM]),
    required=True,
    help="What the holder will be.",
)
@click.option(
    "--ttl", callback=options.read_span, default="10m", show_default=True, help="How long it can be used."
)
@click.option(
    "--approve",
    is_flag=True,
    help="Let it in only after `hubspoke nodes approve NAME`. The hub may ask that of all.",
)
@options.of_a_client
def create(
    *,
    name: str,
    role: str,
    ttl: timedelta,
    approve: bool,
    hubs: tuple[Address, ...],
    state_dir: Path | None,
    as_json: bool,
) -> None:
    """Make a one-use token that lets NAME join.

    The token alone goes to standard output, so that it can be piped; whoever reads it may join. An admin's identity
    is needed.

    JSON: token, name, role, expires_at.
    """

    async def ask() -> IssuedToken:
        async with AdminClient(locate(state_dir).client, hubs) as mesh:
            return await mesh.create_join_token(name, Role(role), ttl, needs_approval=approve)

    with for_admins():
        token = loop.run(ask)
    if as_json:
        write_json({"token": token.text, "name": name, "role": role, "expires_at": token.expires_at})
        return
    left = span(token.expires_at - SystemClock().now())
    click.echo(f"A token for {role} {name!r}, good once and for {left}:", err=True)
    click.echo(token.text)
    click.echo(f"On that machine run `{_PROGRAM[Role(role)]}` and paste it.", err=True)
