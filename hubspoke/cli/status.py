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
from hubspoke.cli.failures import for_admins
from hubspoke.cli.output import gauge, size, span, write_json
from hubspoke.cli.pki_status import warnings
from hubspoke.cli.terminal import one_line
from hubspoke.clock import SystemClock
from hubspoke.paths import locate
from hubspoke.types import ModelState, NodeState, SpokeState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

    from hubspoke.types import AuthoritiesInfo, Gpu, MemoryPool, Model, NodeInfo, SpokeStatus
    from pki.address import Address

MODELS_CELLS: Final = 26
"""Leaves the memory whole on a terminal of 100 columns."""

LOCKED_TOLD_MAX: Final = 5

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

    Beside a card stands how busy and how hot it is. Of each memory that engines share, it shows what models take, as
    measured, and what is promised to loads.

    JSON: spokes, each with name, state, agent_version, registered_at, last_seen_at, slots, busy, reserved_bytes,
    inventory (memory, gpus, engines, models) and pools (gpus, total_bytes, free_bytes, reserved_bytes,
    observed_bytes; without gpus it is main memory); and warnings, of authorities that end within 90 days, and of nodes that
    are locked.
    """

    async def ask() -> tuple[tuple[SpokeStatus, ...], AuthoritiesInfo, tuple[NodeInfo, ...]]:
        async with AdminClient(locate(state_dir).client, hubs) as mesh:
            return await mesh.spokes(), await mesh.authorities(), await mesh.nodes()

    with for_admins():
        spokes, authorities, nodes = loop.run(ask)
    now = SystemClock().now()
    told = [*warnings(authorities, now), *locked(nodes)]
    if as_json:
        write_json({"spokes": spokes, "warnings": told})
        return
    for warning in told:
        click.echo(f"Warning: {warning}", err=True)
    if spokes:
        Console().print(_table(spokes, now))
    else:
        click.echo(
            "No spoke has joined yet; `hubspoke token create NAME --role spoke` makes a token for one."
        )


def locked(nodes: Iterable[NodeInfo]) -> Iterator[str]:
    """Say which nodes are locked, each with why and with what mends it; of many only the first ones."""
    found = [node for node in nodes if node.state is NodeState.LOCKED]
    for node in found[:LOCKED_TOLD_MAX]:
        yield one_line(f"{node.identity.name} is locked: {node.why}")
    if len(found) > LOCKED_TOLD_MAX:
        yield f"{len(found) - LOCKED_TOLD_MAX} more nodes are locked: `hubspoke nodes list`"


def _table(spokes: tuple[SpokeStatus, ...], now: datetime) -> Table:
    table = Table("Spoke", "State", "Slots", "Memory", box=None, pad_edge=False)
    table.add_column("Models", max_width=MODELS_CELLS)
    for spoke in spokes:
        table.add_row(
            Text(spoke.name, style="bold"),
            Text(_state(spoke, now), style=_STYLES[spoke.state]),
            f"{spoke.busy} of {spoke.slots} busy",
            Text("\n").join(_memory(spoke)),
            Text("\n").join(_models(spoke)),
        )
    return table


def _state(spoke: SpokeStatus, now: datetime) -> str:
    since = "" if spoke.state is SpokeState.READY else f" for {span(now - spoke.last_seen_at)}"
    return f"{spoke.state}{since}"


def _memory(spoke: SpokeStatus) -> Iterator[Text]:
    for gpu in spoke.inventory.gpus:
        yield from _card(gpu)
    host = spoke.inventory.memory
    yield Text(f"{gauge(host.total_bytes - host.available_bytes, host.total_bytes)}  main memory")
    for pool in spoke.pools:
        if pool.observed_bytes or pool.reserved_bytes:
            yield Text(_pool(pool), style="dim")


def _card(gpu: Gpu) -> Iterator[Text]:
    name = one_line(f"GPU {gpu.index} {gpu.name}")
    if gpu.fault:
        yield Text(name)
        yield Text(one_line(f"cannot be used: {gpu.fault}"), style="red")
        return
    busy = "" if gpu.utilisation_percent is None else f", {gpu.utilisation_percent} %"
    heat = "" if gpu.temperature_celsius is None else f", {gpu.temperature_celsius} °C"
    yield Text(f"{name}{busy}{heat}")
    if gpu.memory_total_bytes is None or gpu.memory_free_bytes is None:
        yield Text("memory unknown")
    else:
        yield Text(gauge(gpu.memory_total_bytes - gpu.memory_free_bytes, gpu.memory_total_bytes))


def _pool(pool: MemoryPool) -> str:
    cards = ", ".join(str(index) for index in pool.gpus)
    promised = f", promised {size(pool.reserved_bytes)}" if pool.reserved_bytes else ""
    return f"{f'GPU {cards}' if cards else 'main memory'}: models {size(pool.observed_bytes)}{promised}"


def _models(spoke: SpokeStatus) -> Iterator[Text]:
    for engine in spoke.inventory.engines:
        if engine.fault:
            yield Text(one_line(f"{engine.name} cannot be used: {engine.fault}"), style="red")
    for model in spoke.inventory.models:
        yield Text(one_line(_model(model)))
    if not spoke.inventory.models:
        yield Text("none")


def _model(model: Model) -> str:
    slots = f", {model.loaded.slots} slots" if model.state is ModelState.LOADED and model.loaded else ""
    return f"{model.name} ({model.state}{slots})"
