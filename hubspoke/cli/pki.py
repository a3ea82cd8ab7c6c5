"""`hubspoke pki`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from hubspoke.cli import options, pki_add_hub, pki_rotate, pki_status
from hubspoke.cli.output import write_json
from hubspoke.cli.prompts import read_passphrase
from hubspoke.clock import SystemClock
from hubspoke.paths import locate
from hubspoke.ports import ENROL_PORT, MESH_PORT
from pki.address import address, parse_host
from pki.files import HubAddresses, HubFiles, NodeFiles
from pki.hosts import machine_hosts
from pki.identity import NAME_CHARS_MAX, NodeName, node_name
from pki.profiles import HOSTS_MAX
from pki.setup import Plan, initialise, require_free

if TYPE_CHECKING:
    from pki.address import Host
    from pki.setup import Summary

ADMIN_NAME: Final = NodeName("admin")
HUB_NAME: Final = "hub"
"""What a hub is called whose machine's name is of no use."""

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_PORT: Final = click.IntRange(1, 65_535)


@click.group("pki")
def command() -> None:
    """Make the mesh's certificate authority, look at it, and exchange parts of it."""


command.add_command(pki_add_hub.command)
command.add_command(pki_rotate.command)
command.add_command(pki_status.command)


@command.command("init")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="NAME|IP",
    help="What this machine is called on the network; may be repeated. Default: found by itself.",
)
@click.option(
    "--mesh-port", type=_PORT, default=MESH_PORT, show_default=True, help="Where the hub will serve the mesh."
)
@click.option(
    "--enrol-port",
    type=_PORT,
    default=ENROL_PORT,
    show_default=True,
    help="Where the hub will let nodes join.",
)
@click.option(
    "--passphrase-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read the root key's passphrase from the first line of this file.",
)
@click.option("--no-passphrase", is_flag=True, help="Leave the root key open; for demos and tests only.")
@options.state_dir
@options.as_json
def init(
    *,
    hosts: tuple[str, ...],
    mesh_port: int,
    enrol_port: int,
    passphrase_file: Path | None,
    no_passphrase: bool,
    state_dir: Path | None,
    as_json: bool,
) -> None:
    """Make the keys of a new mesh on the machine that will be its hub.

    A root, what signs hubs and nodes, the hub's own certificates, and an identity for you as its admin. Existing
    keys are never overwritten.

    JSON: hub, admin, hosts, hub_directory, admin_directory, root_fingerprint, root_expires_at.
    """
    if no_passphrase and passphrase_file is not None:
        raise click.UsageError("--no-passphrase and --passphrase-file exclude each other")
    places = locate(state_dir)
    hub, admin = HubFiles(places.hub), NodeFiles(places.client)
    require_free(hub, admin)  # before anybody thinks of a passphrase
    known = tuple(parse_host(host) for host in hosts) or machine_hosts()[:HOSTS_MAX]
    summary = initialise(
        hub,
        admin,
        Plan(
            hub_id=hub_name(known[0]),
            admin_name=ADMIN_NAME,
            hosts=known,
            addresses=_addresses(known, mesh_port, enrol_port),
        ),
        passphrase=None if no_passphrase else read_passphrase(passphrase_file),
        now=SystemClock().now(),
    )
    if as_json:
        write_json(_facts(summary, hub, admin))
    else:
        click.echo(_report(summary, hub, admin, has_passphrase=not no_passphrase))


def hub_name(host: Host) -> NodeName:
    """Make a name for a hub out of what its machine is called: its first label, as far as a name may have it."""
    label = re.sub(r"[^a-z0-9]+", "-", host.partition(".")[0])[:NAME_CHARS_MAX].strip("-")
    is_address = ":" in host or label.isdigit()
    return node_name(HUB_NAME if is_address or not label else label)


def _addresses(hosts: tuple[Host, ...], mesh_port: int, enrol_port: int) -> HubAddresses:
    """Say where the admin finds the hub, who sits at its machine now and may carry the identity away."""
    near = (parse_host("localhost"), *(host for host in hosts if host not in _LOOPBACK))
    return HubAddresses(
        mesh=tuple(address(host, mesh_port) for host in near),
        enrol=tuple(address(host, enrol_port) for host in near),
    )


def _facts(summary: Summary, hub: HubFiles, admin: NodeFiles) -> dict[str, object]:
    return {
        "hub": summary.hub.identity.name,
        "admin": summary.admin.identity.name,
        "hosts": summary.hosts,
        "hub_directory": str(hub.directory),
        "admin_directory": str(admin.directory),
        "root_fingerprint": summary.root_fingerprint,
        "root_expires_at": summary.root_not_after,
    }


def _report(summary: Summary, hub: HubFiles, admin: NodeFiles, *, has_passphrase: bool) -> str:
    root_key = hub.authorities.key("root")
    advice = (
        f"Move {root_key} to a stick in a drawer: it is needed again only in years."
        if has_passphrase
        else f"{root_key} has no passphrase: this mesh is for trying out only."
    )
    return (
        f"Made the mesh of hub {summary.hub.identity.name!r}.\n"
        f"  authorities and hub  {hub.directory}\n"
        f"  your identity        {admin.directory} ({summary.admin.identity.name}, may do everything)\n"
        f"  gateway names        {', '.join(summary.hosts)}\n"
        f"  root                 SHA-256 {summary.root_fingerprint}, until {summary.root_not_after:%Y-%m-%d}\n"
        f"{advice}\n"
        "Next: start `hub-server`, then `hubspoke token create NAME --role spoke` for each machine with models."
    )
