"""The names of models and spokes, for whoever presses TAB: soon, or not at all, and never with an error."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from click.shell_completion import CompletionItem

from hubspoke import loop
from hubspoke.clock import SystemClock
from hubspoke.errors import MeshError, PermissionDenied
from hubspoke.paths import locate
from pki import disk
from pki.errors import PkiError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import click

CACHE_FILE: Final = "completion.json"
CACHE_AGE_MAX: Final = timedelta(seconds=60)
"""How old names may be: who presses TAB twice asks the hub once."""
CACHE_BYTES_MAX: Final = 1 << 20
ASK_TIMEOUT_S: Final = 2.0
"""How long a shell may wait for a hub that does not answer."""

_TYPEABLE: Final = re.compile(r"[\w.:/@+-]+")


@dataclass(frozen=True, slots=True)
class Names:
    """What there was in the mesh, as the hubs at *hubs* said."""

    asked_at: Annotated[datetime, msgspec.Meta(tz=True)]
    hubs: tuple[str, ...]
    models: tuple[str, ...]
    spokes: tuple[str, ...]


def complete_models(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Give the models whose name begins like that."""
    names = _known(ctx)
    return _matching(() if names is None else names.models, incomplete)


def complete_spokes(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Give the spokes whose name begins like that."""
    names = _known(ctx)
    return _matching(() if names is None else names.spokes, incomplete)


def _matching(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    # A shell takes them as they are, and a name comes from whoever named a file on a spoke.
    return [
        CompletionItem(name) for name in names if name.startswith(incomplete) and _TYPEABLE.fullmatch(name)
    ]


def _known(ctx: click.Context) -> Names | None:
    """Give the names that were asked for lately, or ask; None when there is no way to know."""
    directory = locate(ctx.params.get("state_dir")).client
    hubs = tuple(ctx.params.get("hubs") or ())
    now = SystemClock().now()
    cached = _read(directory / CACHE_FILE)
    if cached is not None and cached.hubs == hubs and abs(now - cached.asked_at) < CACHE_AGE_MAX:
        return cached
    with suppress(MeshError, PkiError, OSError):
        names = loop.run(lambda: _ask(directory, hubs, now))
        _write(directory / CACHE_FILE, names)
        return names
    return None


async def _ask(directory: Path, hubs: tuple[str, ...], now: datetime) -> Names:
    # Imported by whoever presses TAB, and not by every command that has a model or a spoke.
    from hubspoke.admin import AdminClient  # noqa: PLC0415

    # TimeoutError is an OSError.
    async with asyncio.timeout(ASK_TIMEOUT_S), AdminClient(directory, hubs) as mesh:
        models = await mesh.models()
        spokes = {replica.spoke for model in models for replica in model.replicas}
        with suppress(PermissionDenied):  # an app sees those alone that have a model
            spokes |= {spoke.name for spoke in await mesh.spokes()}
    known = {name for model in models for name in model.names}
    return Names(now, hubs, tuple(sorted(known)), tuple(sorted(spokes)))


def _read(path: Path) -> Names | None:
    with suppress(OSError, msgspec.DecodeError, UnicodeError, RecursionError), path.open("rb") as file:
        return msgspec.json.decode(file.read(CACHE_BYTES_MAX), type=Names)
    return None


def _write(path: Path, names: Names) -> None:
    disk.replace(path, msgspec.json.encode(names), mode=disk.SECRET_MODE)
