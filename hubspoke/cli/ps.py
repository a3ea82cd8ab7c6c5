"""`hubspoke ps`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hubspoke import loop
from hubspoke.cli import options
from hubspoke.cli.output import size, span, write_json
from hubspoke.cli.terminal import one_line
from hubspoke.client import MeshClient
from hubspoke.clock import SystemClock
from hubspoke.paths import locate
from hubspoke.types import ModelState

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from hubspoke.types import ModelSummary, Replica
    from pki.address import Address


@click.command("ps")
@options.of_a_client
def command(*, hubs: tuple[Address, ...], state_dir: Path | None, as_json: bool) -> None:
    """Show what is in memory, where, and how busy it is.

    JSON: models, one for each model and spoke, each with model, key, spoke, engine, state, slots, busy,
    context_tokens, memory_bytes, vram_bytes, pinned, used_at, decode_tokens_per_s and load_s.
    """

    async def ask() -> tuple[ModelSummary, ...]:
        async with MeshClient(locate(state_dir).client, hubs) as mesh:
            return await mesh.models()

    held = [
        (model, replica)
        for model in loop.run(ask)
        for replica in model.replicas
        if replica.state is not ModelState.COLD
    ]
    if as_json:
        write_json({"models": [_fields(model, replica) for model, replica in held]})
    elif held:
        Console().print(_table(held, SystemClock().now()))
    else:
        click.echo("No model is in memory. A question brings one there, or `hubspoke load MODEL`.")


def _fields(model: ModelSummary, replica: Replica) -> dict[str, object]:
    return {
        "model": _name(model),
        "key": model.key,
        "spoke": replica.spoke,
        "engine": replica.engine,
        "state": replica.state,
        "slots": replica.slots,
        "busy": replica.busy,
        "context_tokens": replica.context_tokens,
        "memory_bytes": replica.memory_bytes,
        "vram_bytes": replica.vram_bytes,
        "pinned": replica.pinned,
        "used_at": replica.used_at,
        "decode_tokens_per_s": replica.decode_tokens_per_s,
        "load_s": replica.load_s,
    }


def _table(held: list[tuple[ModelSummary, Replica]], now: datetime) -> Table:
    headings = ("Model", "Spoke", "Engine", "Memory", "Context", "Busy", "Speed", "Idle")
    table = Table(*headings, box=None, pad_edge=False)
    for model, replica in held:
        table.add_row(
            Text(one_line(_name(model)), style="bold"),
            Text(replica.spoke),
            Text(one_line(replica.engine)),
            _memory(replica),
            f"{replica.context_tokens}" if replica.context_tokens else "?",
            f"{replica.busy} of {replica.slots}",
            "?" if replica.decode_tokens_per_s is None else f"{replica.decode_tokens_per_s:.0f} tokens/s",
            _idle(replica, now),
        )
    return table


def _name(model: ModelSummary) -> str:
    return model.names[0] if model.names else model.key


def _memory(replica: Replica) -> str:
    if not replica.memory_bytes:
        return "?"
    if replica.vram_bytes is None:
        return size(replica.memory_bytes)
    share = min(replica.vram_bytes / replica.memory_bytes, 1)
    where = "main memory" if share == 0 else f"{share:.0%} on cards"
    return f"{size(replica.memory_bytes)}, {where}"


def _idle(replica: Replica, now: datetime) -> str:
    if replica.state is ModelState.LOADING:
        return "loading"
    idle = "no" if replica.busy else "?"
    if not replica.busy and replica.used_at is not None:
        idle = span(now - replica.used_at)
    return f"{idle}, pinned" if replica.pinned else idle
