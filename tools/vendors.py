"""Bring what other vendors' clients need, for tests/clients: a virtual environment for each family, packages for Node.

`python -m tools.vendors openai,node` brings two families; `all` is every one but the heavy. What is there already is
kept: a folder of build/clients is named after the hash of what was asked of it.

For a newer version change the .in file of tests/clients/requirements, and in that folder run
`uv pip compile --universal --no-annotate --no-header --python-version 3.11 openai.in -o openai.txt`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tools import node

ROOT: Final = Path(__file__).resolve().parent.parent
CLIENTS: Final = ROOT / "tests" / "clients"
REQUIREMENTS: Final = CLIENTS / "requirements"
NODE_PROGRAMS: Final = CLIENTS / "programs" / "node"
BUILD: Final = ROOT / "build" / "clients"

NODE: Final = "node"
NODE_MAJOR_MIN: Final = 22
"""What the newest of the packages asks for."""
HEAVY: Final = frozenset({"aider"})
"""Families that are brought only by name: half a gigabyte each."""
INSTALL_S_MAX: Final = 600
IMPATIENT: Final = {"UV_HTTP_TIMEOUT": "15", "UV_HTTP_RETRIES": "1"}
"""Where no index can be reached, that is known before a test has run out of time."""


def main(wanted: str) -> None:
    """Bring every family that is *wanted*."""
    for family in chosen(wanted):
        try:
            if family == NODE:
                node_packages()
            else:
                environment(family)
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"vendors: {family} cannot be fetched: {error.stderr or error}") from error
        print(f"vendors: {family} is there", flush=True)


def chosen(wanted: str) -> list[str]:
    """Give the families that *wanted* names, with commas between them; `all` is every one but the heavy."""
    families = sorted(path.stem for path in REQUIREMENTS.glob("*.txt"))
    light = [family for family in families if family not in HEAVY]
    named = {family for name in wanted.split(",") for family in ([*light, NODE] if name == "all" else [name])}
    unknown = named - {*families, NODE}
    if unknown:
        raise SystemExit(f"vendors: no family is called {', '.join(sorted(unknown))}")
    return sorted(named)


def environment(family: str) -> Path:
    """Give the folder of programs of a family's environment; raise CalledProcessError when it cannot be made."""
    requirements = REQUIREMENTS / f"{family}.txt"
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = BUILD / f"{family}-{digest}"
    BUILD.mkdir(parents=True, exist_ok=True)
    with node.alone(BUILD / family):
        if not (folder / "ready").exists():
            for old in BUILD.glob(f"{family}-????????????"):
                shutil.rmtree(old)
            _run("uv", "venv", "--quiet", "--python", sys.executable, str(folder))
            _run(
                *("uv", "pip", "install", "--quiet", "--python", str(folder)),
                *("--requirement", str(requirements)),
            )
            (folder / "ready").touch()
    return folder / ("Scripts" if sys.platform == "win32" else "bin")


def node_packages() -> tuple[str, Path]:
    """Give a Node, and the folder where its programs lie beside their packages; raise CalledProcessError without them."""
    found = node.here(NODE_MAJOR_MIN) or node.fetched()
    folder = BUILD / NODE
    node.install(found, NODE_PROGRAMS, folder)
    return found.program, folder


def _run(*command: str) -> None:
    environment = {**os.environ, **IMPATIENT}
    subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=INSTALL_S_MAX, env=environment
    )


if __name__ == "__main__":
    main(sys.argv[1])
