"""`hubspoke nodes`."""

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
from hubspoke.types import NodeState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime
    from pathlib import Path

    from hubspoke.types import NodeInfo
    from pki.address import Address

_STYLES: Final = {
    NodeState.PENDING: "yellow",
    NodeState.ACTIVE: "green",
    NodeState.LOCKED: "red",
    NodeState.REVOKED: "dim",
}


@click.group("nodes")
def command() -> None:
    """Show who is in the mesh; approve, unlock, revoke. An admin's identity is needed."""


@command.command("list")
@options.of_a_client
def list_nodes(*, hubs: tuple[Address, ...], state_dir: Path | None, as_json: bool) -> None:
    """List everybody who is or was in the mesh, and who waits to be let in.

    JSON: nodes, each with name, role, state, since, why, key, serial, generation, bundle_generation and ends_at.
    """

    async def ask() -> tuple[NodeInfo, ...]:
        async with AdminClient(locate(state_dir).client, hubs) as mesh:
            return await mesh.nodes()

    with for_admins():
        nodes = loop.run(ask)
    if as_json:
        write_json({"nodes": [facts(node) for node in nodes]})
    else:
        _show(nodes, SystemClock().now())


@command.command("approve")
@click.argument("name")
@options.of_a_client
def approve(*, name: str, hubs: tuple[Address, ...], state_dir: Path | None, as_json: bool) -> None:
    """Let NAME in, which waits. Compare its key first: `hubspoke nodes list` shows it, and so does the machine.

    JSON: as of `list`, of the one node.
    """
    node = tell_of(lambda mesh: mesh.approve(name), hubs, state_dir, as_json=as_json)
    _say(f"{node.identity.role} {node.identity.name!r} is let in, with the key {node.key}.", as_json=as_json)


@command.command("deny")
@click.argument("name")
@options.of_a_client
def deny(*, name: str, hubs: tuple[Address, ...], state_dir: Path | None, as_json: bool) -> None:
    """Refuse NAME, which waits. It may ask again with a new token.

    JSON: as of `list`, of the one node.
    """
    node = tell_of(lambda mesh: mesh.deny(name), hubs, state_dir, as_json=as_json)
    _say(f"{node.identity.role} {node.identity.name!r} is not let in.", as_json=as_json)


@command.command("revoke")
@click.argument("name")
@options.of_a_client
def revoke(*, name: str, hubs: tuple[Address, ...], state_dir: Path | None, as_json: bool) -> None:
    """End NAME for good: its calls are cut at once, and only a new token lets the name in again.

    JSON: as of `list`, of the one node.
    """
    revoke_node(name, hubs, state_dir, as_json=as_json)


@command.command("unlock")
@click.argument("name")
@options.of_a_client
def unlock(*, name: str, hubs: tuple[Address, ...], state_dir: Path | None, as_json: bool) -> None:
    """Let NAME in again, which was locked because its identity was seen in two hands.

    Its newest certificate counts again, whoever holds that. Do this only when you know why there were two, as when a
    machine was copied or came back from a backup; otherwise revoke it, and let it join anew.

    JSON: as of `list`, of the one node.
    """
    node = tell_of(lambda mesh: mesh.unlock(name), hubs, state_dir, as_json=as_json)
    _say(f"{node.identity.role} {node.identity.name!r} is in the mesh again.", as_json=as_json)


def revoke_node(name: str, hubs: tuple[Address, ...], state_dir: Path | None, *, as_json: bool) -> None:
    """Do what `hubspoke nodes revoke` does."""
    node = tell_of(lambda mesh: mesh.revoke(name), hubs, state_dir, as_json=as_json)
    role = node.identity.role
    _say(
        f"{role} {node.identity.name!r} is out of the mesh, and its calls are cut. To let the name in again: "
        f"`hubspoke token create {node.identity.name} --role {role}`.",
        as_json=as_json,
    )


def tell_of(
    do: Callable[[AdminClient], Awaitable[NodeInfo]],
    hubs: tuple[Address, ...],
    state_dir: Path | None,
    *,
    as_json: bool,
) -> NodeInfo:
    """Have the hub do something with one node, and write what it is then, as JSON if that is wanted."""

    async def ask() -> NodeInfo:
        async with AdminClient(locate(state_dir).client, hubs) as mesh:
            return await do(mesh)

    with for_admins():
        node = loop.run(ask)
    if as_json:
        write_json(facts(node))
    return node


def facts(node: NodeInfo) -> dict[str, object]:
    """Give a node as JSON has it."""
    return {
        "name": node.identity.name,
        "role": node.identity.role,
        "state": node.state,
        "since": node.since,
        "why": node.why,
        "key": node.key,
        "serial": node.serial,
        "generation": node.generation,
        "bundle_generation": node.bundle_generation,
        "ends_at": node.ends_at,
    }


def _say(sentence: str, *, as_json: bool) -> None:
    if not as_json:
        click.echo(sentence)


def _show(nodes: tuple[NodeInfo, ...], now: datetime) -> None:
    from rich.console import Console  # noqa: PLC0415  # for who sees the table alone
    from rich.table import Table  # noqa: PLC0415  # as above
    from rich.text import Text  # noqa: PLC0415  # as above

    table = Table("Name", "Role", "State", "Key", "Certificate", box=None, pad_edge=False)
    for node in nodes:
        table.add_row(
            Text(node.identity.name, style="bold"),
            node.identity.role,
            Text(node.state, style=_STYLES[node.state]),
            Text(node.key, style="dim"),
            _certificate(node, now),
        )
    console = Console()
    console.print(table)
    for node in nodes:
        if node.why:
            console.print(
                Text(f"{node.identity.name}: {node.state} since {node.since:%Y-%m-%d %H:%M} UTC, {node.why}.")
            )


def _certificate(node: NodeInfo, now: datetime) -> str:
    if node.ends_at is None:
        return "none yet"
    if node.ends_at <= now:
        return f"number {node.generation}, ended {span(now - node.ends_at)} ago"
    return f"number {node.generation}, for {span(node.ends_at - now)}"
