"""`hubspoke status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hubspoke import loop
from hubspoke.admin import AdminClient
from hubspoke.cli import options
from hubspoke.cli.output import gauge, size, span, write_json
from hubspoke.clock import SystemClock
from hubspoke.paths import locate
from hubspoke.types import ModelState, SpokeState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from hubspoke.types import Gpu, Model, SpokeStatus
    from pki.address import Address

_STYLES: Final = {
    SpokeState.READY: "green",
    SpokeState.SILENT: "yellow",
    SpokeState.DRAINING: "yellow",
    SpokeState.LEFT: "dim",
    SpokeState.LOST: "red",
}


@click.command("status")
@options.of_a_client
def command(*, hubs: tuple[Address, ...], state_dir: Path | None, as_json: bool) -> None:
    """Show the spokes: memory, models, slots. An admin's identity is needed.

    JSON: spokes, each with name, state, agent_version, registered_at, last_seen_at, slots, busy, reserved_bytes and
    inventory (memory, gpus, engines, models).
    """

    async def ask() -> tuple[SpokeStatus, ...]:
        async with AdminClient(locate(state_dir).client, hubs) as mesh:
            return await mesh.spokes()

    spokes = loop.run(ask)
    if as_json:
        write_json({"spokes": spokes})
    elif spokes:
        Console().print(_table(spokes, SystemClock().now()))
    else:
        click.echo(
            "No spoke has joined yet; `hubspoke token create NAME --role spoke` makes a token for one."
        )


def _table(spokes: tuple[SpokeStatus, ...], now: datetime) -> Table:
    table = Table("Spoke", "State", "Slots", "Memory", "Models", box=None, pad_edge=False)
    for spoke in spokes:
        table.add_row(
            Text(spoke.name, style="bold"),
            Text(_state(spoke, now), style=_STYLES[spoke.state]),
            f"{spoke.busy} of {spoke.slots} busy",
            Text("\n".join(_memory(spoke))),
            Text("\n".join(_models(spoke)) or "none"),
        )
    return table


def _state(spoke: SpokeStatus, now: datetime) -> str:
    since = "" if spoke.state is SpokeState.READY else f" for {span(now - spoke.last_seen_at)}"
    return f"{spoke.state}{since}"


def _memory(spoke: SpokeStatus) -> Iterator[str]:
    for gpu in spoke.inventory.gpus:
        yield f"{_gpu_memory(gpu)}  {gpu.name}"
    host = spoke.inventory.memory
    yield f"{gauge(host.total_bytes - host.available_bytes, host.total_bytes)}  main memory"
    if spoke.reserved_bytes:
        yield f"{size(spoke.reserved_bytes)} promised to loads"


def _gpu_memory(gpu: Gpu) -> str:
    if gpu.fault:
        return f"cannot be used: {gpu.fault}"
    if gpu.memory_total_bytes is None or gpu.memory_free_bytes is None:
        return "memory unknown"
    return gauge(gpu.memory_total_bytes - gpu.memory_free_bytes, gpu.memory_total_bytes)


def _models(spoke: SpokeStatus) -> Iterator[str]:
    for engine in spoke.inventory.engines:
        if engine.fault:
            yield f"{engine.name} cannot be used: {engine.fault}"
    for model in spoke.inventory.models:
        yield _model(model)


def _model(model: Model) -> str:
    slots = f", {model.loaded.slots} slots" if model.state is ModelState.LOADED and model.loaded else ""
    return f"{model.name} ({model.state}{slots})"
