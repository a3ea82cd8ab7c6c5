"""How measurements are shown and kept."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench import nginx
from hubspoke.loop import uses_uvloop

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Figure: TypeAlias = "float | int | str | list[float] | Mapping[str, Figure]"
"""What goes into the JSON; keys end with their unit."""

WIDTH_MIN: Final = 120
"""Of the table: lines that a narrow terminal wraps are better than figures that are cut."""

MARKS: Final = {True: "[green]pass[/]", False: "[yellow]short[/]", None: ""}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. *reached* is None where there is nothing to reach."""

    what: str
    measured: str
    reach: str = ""
    reached: bool | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """The answer to one question: figures for machines, rows for people."""

    name: str
    figures: Mapping[str, Figure]
    rows: Sequence[Row] = field(default=())


def at_most(what: str, value: float, limit: float, unit: str) -> Row:
    """Give the row of a figure that is better the smaller it is."""
    return Row(what, f"{value:,.4g} {unit}", f"<= {limit:,.4g} {unit}", value <= limit)


def at_least(what: str, value: float, limit: float, unit: str) -> Row:
    """Give the row of a figure that is better the larger it is."""
    return Row(what, f"{value:,.0f} {unit}", f">= {limit:,.0f} {unit}", value >= limit)


def machine() -> dict[str, Figure]:
    """Say what the figures were measured on, and how busy that was before."""
    return {
        "cores": os.cpu_count() or 0,
        "processor": _processor(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "loop": "uvloop" if uses_uvloop() else "asyncio",
        "grpcio": version("grpcio"),
        "protobuf": version("protobuf"),
        "nginx": nginx.version() or "not installed",
        "load_before": os.getloadavg()[0],
    }


def show(title: str, sections: Sequence[Section], about: Mapping[str, Figure]) -> None:
    """Print one table."""
    table = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)
    table.add_column("measured", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("reach", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for section in sections:
        for row in section.rows:
            table.add_row(row.what, row.measured, row.reach, MARKS[row.reached])
        table.add_section()
    console = Console(width=max(WIDTH_MIN, Console().width))
    console.print(table)
    console.print(", ".join(f"{name} {value}" for name, value in about.items()), highlight=False)


def save(path: Path, sections: Sequence[Section], about: Mapping[str, Figure]) -> None:
    """Write every figure as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": about, **{section.name: section.figures for section in sections}}
    path.write_text(json.dumps(content, indent=2) + "\n")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:  # not Linux
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
