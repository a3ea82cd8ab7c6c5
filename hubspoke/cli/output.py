"""What commands write: JSON for programs, figures for people."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import click
import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from hubspoke.types import InMemory, Pulled

GIB: Final = 1 << 30
MIB: Final = 1 << 20
GAUGE_CELLS: Final = 10


def write_json(value: Mapping[str, object]) -> None:
    """Write *value*, which may hold our frozen values, as one line of JSON; sets come out sorted."""
    click.echo(msgspec.json.encode(value, order="deterministic", enc_hook=_frozen_mapping))


def plain(value: object) -> dict[str, object]:
    """Give a frozen value as a mapping, to put something beside its fields."""
    builtins = msgspec.to_builtins(value, order="deterministic", enc_hook=_frozen_mapping)
    return msgspec.convert(builtins, type=dict[str, object])


def _frozen_mapping(value: object) -> object:
    """Give a mapping that cannot change as one that JSON has."""
    if isinstance(value, MappingProxyType):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def placed(value: InMemory | Pulled) -> dict[str, object]:
    """Give a frozen value as a mapping, with the engine and the model of its place beside the other fields."""
    fields = plain(value)
    del fields["place"]
    return {**fields, **value.place._asdict()}


def size(count: float) -> str:
    """Give a number of bytes as people write it."""
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / MIB:.1f} MiB"


def gauge(used: int, total: int) -> str:
    """Draw how much of *total* bytes is used, and say it."""
    cells = round(GAUGE_CELLS * min(max(used, 0) / total, 1.0)) if total else 0
    return f"{'█' * cells}{'░' * (GAUGE_CELLS - cells)} {size(used)} of {size(total)}"


def span(length: timedelta) -> str:
    """Give a length of time in its largest unit, rounded."""
    seconds = max(0, round(length.total_seconds()))
    for unit, unit_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= unit_s:
            return f"{round(seconds / unit_s)} {unit}"
    return f"{seconds} s"
