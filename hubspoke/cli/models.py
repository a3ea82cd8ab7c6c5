"""`hubspoke models`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hubspoke import loop
from hubspoke.cli import options
from hubspoke.cli.output import size, write_json
from hubspoke.cli.terminal import one_line
from hubspoke.client import MeshClient
from hubspoke.paths import locate
from hubspoke.types import Capability, ModelState

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from hubspoke.types import ModelSummary, Replica
    from pki.address import Address

_USUAL: Final = {Capability.CHAT, Capability.COMPLETION, Capability.SAMPLING}


@click.command("models")
@options.of_a_client
def command(*, hubs: tuple[Address, ...], state_dir: Path | None, as_json: bool) -> None:
    """List what can be asked, and where it runs.

    JSON: models, each with key, names, size_bytes, family, quantisation, context_tokens_max, capabilities and
    replicas (spoke, state, slots, busy, decode_tokens_per_s, load_s, engine, context_tokens, memory_bytes, vram_bytes,
    pinned, used_at).
    """

    async def ask() -> tuple[ModelSummary, ...]:
        async with MeshClient(locate(state_dir).client, hubs) as mesh:
            return await mesh.models()

    models = loop.run(ask)
    if as_json:
        write_json({"models": models})
    elif models:
        Console().print(_table(models))
    else:
        click.echo("No model can be asked: no spoke is there, or none has a model.")


def _table(models: tuple[ModelSummary, ...]) -> Table:
    table = Table("Model", "Size", "Kind", "Context", "Can do", "Where", box=None, pad_edge=False)
    for model in models:
        kind = " ".join(part for part in (model.family, model.quantisation) if part)
        table.add_row(
            _lines(model.names),
            size(model.size_bytes) if model.size_bytes else "?",
            _lines([kind or "?"]),
            str(model.context_tokens_max or "?"),
            _can_do(model),
            _lines([_where(replica) for replica in model.replicas]),
        )
    return table


def _lines(texts: Iterable[str]) -> Text:
    return Text("\n".join(one_line(text) for text in texts))


def _can_do(model: ModelSummary) -> str:
    """Name what tells models apart; nearly all of them chat, complete and heed how tokens are to be drawn."""
    special = sorted(capability for capability in model.capabilities if capability not in _USUAL)
    if Capability.CHAT not in model.capabilities:
        return ", ".join(special) or "no chat"
    return ", ".join([Capability.CHAT, *special])


def _where(replica: Replica) -> str:
    if replica.state is not ModelState.LOADED:
        return f"{replica.spoke}: {replica.state}"
    speed = "" if replica.decode_tokens_per_s is None else f", {replica.decode_tokens_per_s:.0f} tokens/s"
    pinned = ", pinned" if replica.pinned else ""
    return f"{replica.spoke}: {replica.busy} of {replica.slots} slots busy{speed}{pinned}"
