"""`hubspoke load`."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from hubspoke import loop
from hubspoke.admin import AdminClient
from hubspoke.cli import options
from hubspoke.cli.failures import for_admins
from hubspoke.cli.output import placed, plain, size, write_json
from hubspoke.cli.terminal import one_line
from hubspoke.cli.waiting import WaitingLine
from hubspoke.paths import locate
from hubspoke.types import InMemory

if TYPE_CHECKING:
    from pathlib import Path

    from hubspoke.types import LoadEvent
    from pki.address import Address


@click.command("load")
@options.model
@options.spoke
@click.option("--pin", is_flag=True, help="Keep it in memory until somebody unloads it.")
@options.of_a_client
def command(
    *, model: str, spoke: str, pin: bool, hubs: tuple[Address, ...], state_dir: Path | None, as_json: bool
) -> None:
    """Bring MODEL into memory, so that its first answer need not wait. An admin's identity is needed.

    Ctrl-C stops watching; the load itself goes on, and pins nothing.

    JSON: one object a line, "event" being loading (spoke, elapsed_s, expected_s) or loaded (spoke, engine, model,
    slots, context_tokens, memory_bytes, pinned).
    """
    waiting = WaitingLine(model)

    def show(event: LoadEvent) -> None:
        if as_json and isinstance(event, InMemory):
            write_json({"event": "loaded", **placed(event)})
        elif as_json:
            write_json({"event": "loading", **plain(event)})
        elif isinstance(event, InMemory):
            waiting.end()
            click.echo(_is_there(event))
        else:
            waiting.tell(event)

    async def watch() -> None:
        try:
            async with (
                AdminClient(locate(state_dir).client, hubs) as mesh,
                aclosing(mesh.load(model, spoke=spoke, pin=pin)) as events,
            ):
                async for event in events:
                    show(event)
        finally:
            waiting.end()

    try:
        with for_admins():
            loop.run(watch)
    except KeyboardInterrupt:
        pins = ", and pins nothing" if pin else ""
        click.echo(f"The load goes on{pins}; `hubspoke ps` shows it.", err=True)
        raise


def _is_there(loaded: InMemory) -> str:
    memory = f", {size(loaded.memory_bytes)}" if loaded.memory_bytes else ""
    pinned = ", pinned: `hubspoke unload` takes it out" if loaded.pinned else ""
    slots = "1 slot" if loaded.slots == 1 else f"{loaded.slots} slots"
    return one_line(
        f"{loaded.place.model} is in memory on {loaded.spoke} ({loaded.place.engine}): "
        f"{slots} of {loaded.context_tokens} tokens{memory}{pinned}"
    )
