"""`hubspoke pki status`, and what there is to say about authorities elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from hubspoke import loop
from hubspoke.cli import options
from hubspoke.cli.failures import for_admins
from hubspoke.cli.output import span, write_json
from hubspoke.clock import SystemClock
from hubspoke.diagnosis.judge import AUTHORITY_WARNED
from hubspoke.paths import locate
from pki.rotation import Kind, Phase

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from hubspoke.types import AuthoritiesInfo, AuthorityInfo, HolderInfo
    from pki.address import Address

FINGERPRINT_DIGITS: Final = 16


@click.command("status")
@options.of_a_client
def command(*, hubs: tuple[Address, ...], state_dir: Path | None, as_json: bool) -> None:
    """Show what signs what and until when, who holds which generation, and what is being exchanged.

    JSON: generation, authorities (kind, number, use, fingerprint, ends_at), certificates (port, ends_at), nodes (name, role,
    generation, ends_at, waits_because, stays_behind), rotation (kind, phase, next, since, began_at; null when nothing is being
    exchanged) and warnings.
    """
    from hubspoke.admin import AdminClient  # noqa: PLC0415  # heavy, and `pki init` needs none of it

    async def ask() -> AuthoritiesInfo:
        async with AdminClient(locate(state_dir).client, hubs) as mesh:
            return await mesh.authorities()

    with for_admins():
        info = loop.run(ask)
    now = SystemClock().now()
    if as_json:
        write_json({**facts(info), "warnings": list(warnings(info, now))})
    else:
        _show(info, now)


def facts(info: AuthoritiesInfo) -> dict[str, object]:
    """Give the state of the authorities as JSON has it."""
    return {
        "generation": info.generation,
        "authorities": info.authorities,
        "certificates": info.certificates,
        "nodes": [
            {
                "name": node.identity.name,
                "role": node.identity.role,
                "generation": node.generation,
                "ends_at": node.ends_at,
                "waits_because": node.waits_because,
                "stays_behind": node.stays_behind,
            }
            for node in info.nodes
        ],
        "rotation": info.rotation,
    }


def warnings(info: AuthoritiesInfo, now: datetime) -> Iterator[str]:
    """Say which authorities end soon, each with the command that mends it."""
    for authority in info.authorities:
        left = authority.ends_at - now
        is_leaving = info.rotation is not None and info.rotation.kind in {authority.kind, Kind.ROOT}
        if left <= AUTHORITY_WARNED and not is_leaving:
            yield (
                f"the {called(authority)} ends at {authority.ends_at:%Y-%m-%d %H:%M} UTC, in {span(left)}: "
                f"`hubspoke pki rotate {authority.kind} begin`"
            )


def called(authority: AuthorityInfo) -> str:
    """Name an authority for people."""
    return "root" if authority.kind is Kind.ROOT else f"{authority.kind} authority"


def rotation_lines(info: AuthoritiesInfo) -> Iterator[str]:
    """Say how far an exchange has come, whom it waits for, and what to do next."""
    rotation = info.rotation
    if rotation is None:
        yield f"Nothing is being exchanged. Generation {info.generation}."
        return
    yield f"{rotation.kind} is being exchanged: phase {rotation.phase}, generation {info.generation}."
    for node in info.waits_for:
        yield f"  {node.identity.name} {node.waits_because}."
    for node in info.nodes:
        if node.stays_behind:
            yield f"  {node.identity.name} is away, and will need a new token if it does not come back before the end."
    step = "finish" if rotation.next is Phase.STEADY else "advance"
    when = f" once {len(info.waits_for)} more are ready" if info.waits_for else ""
    yield f"Next{when}: `hubspoke pki rotate {rotation.kind} {step}`"


def _show(info: AuthoritiesInfo, now: datetime) -> None:
    from rich.console import Console  # noqa: PLC0415  # for who sees the tables alone
    from rich.table import Table  # noqa: PLC0415  # as above
    from rich.text import Text  # noqa: PLC0415  # as above

    console = Console()
    table = Table("Authority", "Number", "Use", "Ends", "SHA-256", box=None, pad_edge=False)
    for authority in info.authorities:
        table.add_row(
            Text(called(authority), style="bold"),
            str(authority.number),
            authority.use,
            f"{authority.ends_at:%Y-%m-%d}",
            Text(authority.fingerprint[:FINGERPRINT_DIGITS], style="dim"),
        )
    for certificate in info.certificates:
        table.add_row(f"hub, {certificate.port}", "", "shown", f"{certificate.ends_at:%Y-%m-%d %H:%M}", "")
    console.print(table)
    nodes = Table("Node", "Role", "Generation", "Certificate", box=None, pad_edge=False)
    for node in info.nodes:
        nodes.add_row(
            Text(node.identity.name, style="bold"),
            node.identity.role,
            _generation(node, info.generation),
            f"ended {span(now - node.ends_at)} ago"
            if node.ends_at <= now
            else f"for {span(node.ends_at - now)}",
        )
    console.print(nodes)
    for line in rotation_lines(info):
        console.print(Text(line))
    for warning in warnings(info, now):
        console.print(Text(f"Warning: {warning}", style="yellow"))


def _generation(node: HolderInfo, newest: int) -> str:
    if node.generation == 0:
        return "not heard from"
    return str(node.generation) if node.generation == newest else f"{node.generation}, not {newest} yet"
