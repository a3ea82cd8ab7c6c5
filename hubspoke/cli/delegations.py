"""`hubspoke delegations`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hubspoke import loop
from hubspoke.cli import options
from hubspoke.cli.delegating.labels import read_labels
from hubspoke.cli.delegating.view import View, short, tokens
from hubspoke.cli.delegating.watching import conclude, shown, tree_of
from hubspoke.cli.output import plain, span, write_json
from hubspoke.cli.terminal import one_line, printable
from hubspoke.client import MeshClient
from hubspoke.clock import SystemClock
from hubspoke.paths import locate
from hubspoke.types import DelegationId, DelegationState, Verb

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path
    from typing import TextIO

    from hubspoke.types import DelegationInfo
    from pki.address import Address

_ID = click.argument("id_", metavar="ID")


@click.group("delegations")
def command() -> None:
    """List, watch, end and decide about what was handed over. An app sees its own, an admin all."""


@command.command("list")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in DelegationState]),
    help="Only those that stand so; repeatable.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME=VALUE",
    callback=read_labels,
    help="Only those with this label.",
)
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="As many at most, the newest."
)
@options.of_a_client
def list_delegations(
    *,
    states: tuple[str, ...],
    labels: dict[str, str],
    limit: int,
    hubs: tuple[Address, ...],
    state_dir: Path | None,
    as_json: bool,
) -> None:
    """List delegations, the newest first.

    JSON: delegations, each as `show` gives it, without subtasks and result.
    """

    async def ask() -> list[DelegationInfo]:
        found: list[DelegationInfo] = []
        async with MeshClient(locate(state_dir).client, hubs) as mesh:
            async for info in mesh.delegations.list([DelegationState(state) for state in states], labels):
                found.append(info)
                if len(found) >= limit:
                    break
        return found

    found = loop.run(ask)
    if as_json:
        write_json({"delegations": found})
    elif found:
        Console().print(_table(found, SystemClock().now()))
    else:
        click.echo('Nothing was handed over; `hubspoke delegate "GOAL"` hands something over.')


@command.command("show")
@_ID
@click.option("--watch", is_flag=True, help="Show what happens until it has ended, and the result.")
@options.of_a_client
def show(*, id_: str, watch: bool, hubs: tuple[Address, ...], state_dir: Path | None, as_json: bool) -> None:
    """Show how the delegation ID stands: its subtasks, who does them, what they have taken, and the result.

    JSON: id, state, owner, request_id, title, mode, labels, priority, accepted_at, deadline, ended_at, last_seq, subtasks,
    result, problem, spent; with --watch one event a line, from the first on.
    """

    async def ask() -> None:
        async with MeshClient(locate(state_dir).client, hubs) as mesh:
            info = await mesh.delegations.get(DelegationId(id_))
            if watch:
                view = await shown(info, mesh.delegations.watch(info.id), as_json=as_json)
                conclude(info, view, as_json=as_json)
            elif as_json:
                write_json(plain(info))
            else:
                _show(info)

    loop.run(ask)


@command.command("cancel")
@_ID
@options.of_a_client
def cancel(*, id_: str, hubs: tuple[Address, ...], state_dir: Path | None, as_json: bool) -> None:
    """End the delegation ID, whatever it is doing; one that has ended stays as it is.

    JSON: as `show`.
    """

    async def ask() -> DelegationInfo:
        async with MeshClient(locate(state_dir).client, hubs) as mesh:
            return await mesh.delegations.cancel(DelegationId(id_))

    _tell(loop.run(ask), as_json=as_json)


@command.command("resolve")
@_ID
@click.argument("verb", type=click.Choice([verb.value for verb in Verb]))
@click.option("--subtask", default="", help="The parked subtask. Default: the whole delegation.")
@click.option(
    "--output",
    type=click.File(encoding="utf-8"),
    help="What to take as its output, with supply; - is standard input.",
)
@options.of_a_client
def resolve(
    *,
    id_: str,
    verb: str,
    subtask: str,
    output: TextIO | None,
    hubs: tuple[Address, ...],
    state_dir: Path | None,
    as_json: bool,
) -> None:
    """Decide what becomes of what is parked in the delegation ID.

    It is tried again, done by the orchestrator, left out, given an output by you, or ends the whole delegation.

    JSON: as `show`.
    """
    decision = Verb(verb)
    if (output is not None) is not (decision is Verb.SUPPLY):
        raise click.UsageError("--output goes with supply, and supply with --output")
    text = output.read() if output is not None else ""

    async def ask() -> DelegationInfo:
        async with MeshClient(locate(state_dir).client, hubs) as mesh:
            return await mesh.delegations.resolve(DelegationId(id_), decision, subtask=subtask, output=text)

    _tell(loop.run(ask), as_json=as_json)


@command.command("delete")
@_ID
@options.of_a_client
def delete(*, id_: str, hubs: tuple[Address, ...], state_dir: Path | None, as_json: bool) -> None:
    """Forget the delegation ID, which has ended, with its inputs, outputs and result.

    JSON: deleted, the id.
    """

    async def ask() -> None:
        async with MeshClient(locate(state_dir).client, hubs) as mesh:
            await mesh.delegations.delete(DelegationId(id_))

    loop.run(ask)
    if as_json:
        write_json({"deleted": id_})
    else:
        click.echo(f"{id_} is forgotten.")


def _show(info: DelegationInfo) -> None:
    console = Console(highlight=False)
    console.print(tree_of(info.title, View.of(info)))
    if info.state is DelegationState.PARKED:
        click.echo(f"`hubspoke delegations resolve {info.id} VERB` decides.", err=True)
    if info.result:
        click.echo()
        click.echo(printable(info.result))


def _tell(info: DelegationInfo, *, as_json: bool) -> None:
    if as_json:
        write_json(plain(info))
    else:
        click.echo(f"{info.id} is {info.state}.")


def _table(found: Sequence[DelegationInfo], now: datetime) -> Table:
    table = Table("Delegation", "State", "Age", "Took", "Goal", box=None, pad_edge=False)
    for info in found:
        age = span(now - info.accepted_at)
        table.add_row(
            Text(info.id, style="bold"),
            str(info.state),
            age,
            tokens(info.spent),
            Text(one_line(short(info.title))),
        )
    return table
