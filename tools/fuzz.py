"""Fuzz a target of `tests/fuzz` with atheris, guided by what it reaches: `just fuzz TARGET SECONDS`."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["hub", "hubspoke", "spoke"]):
    from tests.fuzz.targets import TARGETS

CORPUS = Path("build/fuzz")


def main() -> None:
    """Fuzz for as long as is told; an input that fails is written below `build/fuzz`, and shown."""
    name, seconds = sys.argv[1:]
    if name not in TARGETS:
        raise SystemExit(f"there is no target {name!r}; there is {', '.join(TARGETS)}")
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds}", f"-artifact_prefix={corpus}-", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], str(corpus), *options], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
