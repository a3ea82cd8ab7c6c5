"""Install the built wheel into a clean virtual environment and start what it brings."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INSTALL_TIMEOUT_S = 300
START_TIMEOUT_S = 60
COMMANDS = (
    ("hubspoke", "version"),
    ("hubspoke", "--help"),
    ("hub-server", "--help"),
    ("spoke-agent", "--help"),
    # A whole start: certificates from the wheel's own code.
    ("hubspoke", "pki", "init", "--no-passphrase", "--state-dir", "state"),
)


def main() -> None:
    """Check dist/; raise SystemExit with a sentence when something is wrong."""
    wheels = sorted((ROOT / "dist").glob("*.whl"))
    if len(wheels) != 1:
        raise SystemExit(f"wheel-check: expected one wheel in dist/, found {len(wheels)}; run `just build`")
    with tempfile.TemporaryDirectory() as scratch:
        venv = Path(scratch) / "venv"
        run(["uv", "venv", "--quiet", str(venv)], scratch, INSTALL_TIMEOUT_S)
        requirements = Path(scratch) / "requirements.txt"
        # The versions that were tested, not whatever is newest today.
        run(
            ["uv", "export", "--quiet", "--locked", "--no-dev", "--no-emit-project", "--project", str(ROOT),
             "--output-file", str(requirements)],
            scratch, INSTALL_TIMEOUT_S,
        )  # fmt: skip
        python = venv / "bin" / "python"
        install = ["uv", "pip", "install", "--quiet", "--python", str(python)]
        run([*install, "-r", str(requirements)], scratch, INSTALL_TIMEOUT_S)
        run([*install, "--no-deps", str(wheels[0])], scratch, INSTALL_TIMEOUT_S)
        for name, *arguments in COMMANDS:
            run([str(venv / "bin" / name), *arguments], scratch, START_TIMEOUT_S)
            print(f"wheel-check: {name} {' '.join(arguments)}: ok")


def run(command: list[str], folder: str, timeout_s: float) -> None:
    """Run *command* in *folder*, away from the source tree; show what it said when it fails."""
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False)
    if result.returncode != 0:
        print(result.stdout, result.stderr, sep="\n", file=sys.stderr)
        raise SystemExit(f"wheel-check: {' '.join(command)} exited with {result.returncode}")


if __name__ == "__main__":
    main()
