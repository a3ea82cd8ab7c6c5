"""Fuzz what tests/fuzz/targets.py names, guided by what the code runs through: `just fuzz writers 300`.

Inputs that reached something new stay in build/fuzz/, so every run goes on from the last one. What fails is cut down to the
least that still fails, and printed; put it into tests/fuzz/test_targets.py with the correction.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "build" / "fuzz"
ATHERIS: Final = "atheris==3.0.0"
"""Not in uv.lock: it has wheels for Linux on x86-64 alone."""

INPUT_BYTES_MAX: Final = 1024
INPUT_TIMEOUT_S: Final = 10
GRACE_S: Final = 120.0
"""For what comes before and after: to install, to instrument, to read the corpus."""
ALL: Final = "all"
DEFAULTS: Final = (ALL, "60")


def main() -> None:
    """Run one target, or all of them, for some seconds each; end with 1 when one of them fails."""
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415  # the fuzzer's own process has to instrument it first

    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        sys.exit("fuzz: atheris runs on Linux on x86-64 alone; elsewhere run `just test tests/fuzz`")
    asked, seconds = [*sys.argv[1:3], *DEFAULTS[len(sys.argv) - 1 :]]
    if asked != ALL and asked not in TARGETS:
        sys.exit(f"fuzz: there is no target {asked!r}; give {ALL}, {', '.join(TARGETS)}")
    names = list(TARGETS) if asked == ALL else [asked]
    failed = [name for name in names if not held(name, TARGETS[name], int(seconds))]
    sys.exit(f"fuzz: {', '.join(failed)} failed" if failed else 0)


def held(name: str, target: Callable[[bytes], None], seconds: int) -> bool:
    """Fuzz one target in a process of its own; print what fails, if anything does."""
    print(f"fuzz: {name} for {seconds} s", flush=True)
    corpus, found = FOLDER / name, FOLDER / f"{name}.failure"
    corpus.mkdir(parents=True, exist_ok=True)
    found.unlink(missing_ok=True)
    options = (
        f"-max_total_time={seconds}",
        f"-max_len={INPUT_BYTES_MAX}",
        f"-timeout={INPUT_TIMEOUT_S}",
        f"-exact_artifact_path={found}",
        *("-print_final_stats=1", "-verbosity=0"),
    )
    inner = ("python", "-c", "from tools.fuzz import fuzz; fuzz()", name, *options, str(corpus))
    command = ("uv", "run", "--quiet", "--locked", "--with", ATHERIS, *inner)
    ended = subprocess.run(command, cwd=ROOT, check=False, timeout=seconds + GRACE_S)
    if found.exists():
        print(f"fuzz: {name} fails with {least(target, found.read_bytes())!r}")
    return ended.returncode == 0


def fuzz() -> None:
    """Fuzz the target that the first argument names, in this process, which the fuzzer ends; the others are libFuzzer's."""
    import atheris  # type: ignore[import-not-found]  # noqa: PLC0415  # only `uv run --with` brings it

    with atheris.instrument_imports(include=["hub", "hubspoke", "pki", "spoke", "tests.fuzz"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415  # what is imported here is instrumented

    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()


def least(target: Callable[[bytes], None], data: bytes) -> bytes:
    """Cut *data* down as long as *target* fails with it; give it as it is when it does not fail here."""
    size = len(data)
    while size:
        for start in range(0, len(data), size):
            shorter = data[:start] + data[start + size :]
            if fails(target, shorter):
                data = shorter
                break
        else:
            size //= 2
    return data


def fails(target: Callable[[bytes], None], data: bytes) -> bool:
    """Whether *target* raises anything with *data* that it should have caught."""
    try:
        target(data)
    except (
        AssertionError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ):
        return True
    return False


if __name__ == "__main__":
    main()
