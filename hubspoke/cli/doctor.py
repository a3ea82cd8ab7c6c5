"""`hubspoke doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click
from rich.console import Console
from rich.text import Text

from hubspoke import loop
from hubspoke.cli import options
from hubspoke.cli.failures import Exit, told
from hubspoke.cli.output import write_json
from hubspoke.clock import SystemClock
from hubspoke.diagnosis.findings import Grade, worst
from hubspoke.diagnosis.hub import of_hub_here
from hubspoke.diagnosis.node import of_node
from hubspoke.paths import locate
from pki.files import HubFiles, NodeFiles

if TYPE_CHECKING:
    from pathlib import Path

    from hubspoke.diagnosis.findings import Finding
    from hubspoke.paths import Places
    from pki.address import Address

_MARKS: Final = {Grade.GOOD: ("✓", "green"), Grade.WARNING: ("!", "yellow"), Grade.BAD: ("✗", "red")}


@click.command("doctor")
@options.of_a_client
def command(*, hubs: tuple[Address, ...], state_dir: Path | None, as_json: bool) -> None:
    """Find out why this machine is not in the mesh, and what mends it.

    Looks at everything of the mesh that is on this machine: your own identity, a spoke's, a hub's. Reads files, looks at
    clocks and certificates, and tries the hub's port step by step. Sends nothing but certificates, and changes nothing.

    JSON: findings, each with of (client, spoke or hub), grade (good, warning or bad), about, what and mend. Exit code 1
    when something is in the way.
    """
    found = loop.run(lambda: _look(locate(state_dir), hubs))
    if as_json:
        rows = [
            {"of": of, "grade": f.grade, "about": f.about, "what": f.what, "mend": f.mend}
            for of, findings in found.items()
            for f in findings
        ]
        write_json({"findings": rows})
    elif not found:
        click.echo(
            "Nothing of a mesh is on this machine: join one with `hubspoke join` or `spoke-agent join`, "
            "or begin one with `hubspoke pki init`."
        )
    for of, findings in found.items() if not as_json else ():
        _show(of, findings)
    if any(worst(findings) for findings in found.values()):
        raise click.exceptions.Exit(Exit.FAILED)


async def _look(places: Places, hubs: tuple[Address, ...]) -> dict[str, tuple[Finding, ...]]:
    """Look at what there is."""
    now = SystemClock().now()
    found = {}
    for of, directory in (("client", places.client), ("spoke", places.spoke)):
        files = NodeFiles(directory)
        if files.identity.exists():
            found[of] = await of_node(files, hubs, now)
    hub = HubFiles(places.hub)
    if hub.authorities.directory.exists():
        found["hub"] = await of_hub_here(hub, now)
    return found


def _show(of: str, findings: tuple[Finding, ...]) -> None:
    console = Console(highlight=False)
    console.print(Text(f"The {of} on this machine", style="bold"))
    for finding in findings:
        mark, style = _MARKS[finding.grade]
        console.print(Text.assemble("  ", (mark, style), " ", told(finding.what)))
        if finding.mend:
            console.print(Text(f"    {told(finding.mend)}", style="dim"))
