"""The table of a run: `python -m tests.security.table` prints what the tests have kept, and fails if one is missing."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table

from tests.fakes.home import ROOT
from tests.security.cases import NUMBERS

if TYPE_CHECKING:
    from tests.security.cases import Case

KEPT: Final = ROOT / "build" / "security"
SAW_CHARS_MAX: Final = 60


def forget() -> None:
    """Begin anew: what an earlier run has kept proves nothing."""
    for path in KEPT.glob("*.json"):
        path.unlink()


def keep(case: Case, saw: str, took_ms: float) -> None:
    """Write down that a case was refused."""
    KEPT.mkdir(parents=True, exist_ok=True)
    row = {"number": case.number, "what": case.what, "layer": case.layer, "saw": saw, "ms": round(took_ms, 1)}
    (KEPT / f"{case.number}.json").write_text(json.dumps(row), encoding="utf-8")


def main() -> int:
    """Print the table; 0 if every case was refused."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in KEPT.glob("*.json")]
    printed = Table("case", "what is tried", "refused by", "what the peer saw", "ms")
    for row in sorted(rows, key=lambda row: row["number"]):
        saw = " ".join(row["saw"].split())
        short = saw if len(saw) <= SAW_CHARS_MAX else f"{saw[: SAW_CHARS_MAX - 1]}…"
        printed.add_row(str(row["number"]), row["what"], row["layer"], short, f"{row['ms']:.0f}")
    console = Console(width=160)
    console.print(printed)
    refused = {row["number"] for row in rows} & set(NUMBERS)
    if missing := sorted(set(NUMBERS) - refused):
        console.print(f"not refused, or not tried: {', '.join(map(str, missing))}")
    console.print(f"{len(refused)} of {len(NUMBERS)} refused", highlight=False)
    return 0 if not missing else 1


if __name__ == "__main__":
    if sys.argv[1:] == ["--forget"]:
        forget()
    else:
        sys.exit(main())
