"""`hubspoke pki add-hub`."""

from __future__ import annotations

from pathlib import Path

import click

from hubspoke.cli import options
from hubspoke.cli.output import write_json
from hubspoke.clock import SystemClock
from hubspoke.paths import locate
from pki.address import parse_host
from pki.files import HubFiles
from pki.identity import node_name
from pki.setup import add_hub


@click.command("add-hub")
@click.argument("name")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    required=True,
    metavar="NAME|IP",
    help="What the other machine is called on the network; may be repeated.",
)
@click.option(
    "--to",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="New directory for its files: the other hub's --state-dir.",
)
@options.state_dir
@options.as_json
def command(*, name: str, hosts: tuple[str, ...], to: Path, state_dir: Path | None, as_json: bool) -> None:
    """Make keys for one more hub NAME, which stands by until this one is gone.

    Run it on the machine of a hub. The files hold what signs the mesh's certificates: carry them over a channel that you trust,
    and remove them here. Both hubs need the same [database].

    JSON: hub, hosts, directory, expires_at.
    """
    known = tuple(parse_host(host) for host in hosts)
    other = HubFiles(to / "hub")
    made = add_hub(HubFiles(locate(state_dir).hub), other, node_name(name), known, now=SystemClock().now())
    if as_json:
        facts = {"hub": name, "hosts": known, "directory": str(other.directory), "expires_at": made.not_after}
        write_json(facts)
        return
    click.echo(
        f"Made keys for hub {name!r} in {other.directory}.\n"
        f"Move {to} to the other machine (scp -rp, then remove it here), give both hubs the same [database] url in\n"
        f"hubspoke.toml, and start it there: hub-server --state-dir {to.name}\n"
        "It stands by, and serves the mesh when this one is gone."
    )
