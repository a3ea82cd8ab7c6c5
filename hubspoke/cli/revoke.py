"""`hubspoke revoke`, which has to be quick to remember and to type."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hubspoke.cli import options
from hubspoke.cli.nodes import revoke_node

if TYPE_CHECKING:
    from pathlib import Path

    from pki.address import Address


@click.command("revoke")
@click.argument("name")
@options.of_a_client
def command(*, name: str, hubs: tuple[Address, ...], state_dir: Path | None, as_json: bool) -> None:
    """End NAME for good: its calls are cut at once, and only a new token lets the name in again.

    The same as `hubspoke nodes revoke`. An admin's identity is needed.

    JSON: name, role, state, since, why, key, serial, generation, bundle_generation, ends_at.
    """
    revoke_node(name, hubs, state_dir, as_json=as_json)
