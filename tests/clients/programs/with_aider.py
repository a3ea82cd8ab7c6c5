"""Aider, as its command line."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import trial

AIDER = str(Path(sys.executable).parent / "aider")
QUIET = (
    *("--no-git", "--yes-always", "--no-check-update", "--no-show-model-warnings", "--analytics-disable"),
    *("--no-pretty", "--no-show-release-notes", "--map-tokens", "0", "--no-gitignore"),
)
RUN_S_MAX = 120


def ran(*words: str, model: str = trial.MODEL, key: str = trial.KEY) -> str:
    """Let aider say one thing in a folder of its own, and give all that it has printed."""
    with tempfile.TemporaryDirectory(prefix="aider-") as folder:
        given = {"OPENAI_API_BASE": f"{trial.URL}/v1", "OPENAI_API_KEY": key, "HOME": folder}
        done = subprocess.run(
            (AIDER, "--model", f"openai/{model}", *QUIET, "--chat-mode", "ask", *words),
            cwd=folder,
            env={**os.environ, **given},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=RUN_S_MAX,
        )
    return done.stdout + done.stderr


def has(word: str, printed: str) -> str:
    lines = [line for line in printed.splitlines() if word in line]
    assert lines, printed
    return lines[0][:200]


trial.run(
    {
        # Its instructions are more than `tiny` understands: what it answers does not matter.
        "chat": lambda: has("received", ran("--no-stream", "--message", trial.CAPITAL)),
        "stream": lambda: has("received", ran("--stream", "--message", trial.CAPITAL)),
        "unknown": lambda: has("NotFoundError", ran("--message", trial.CAPITAL, model=trial.UNKNOWN)),
        "key": lambda: has("AuthenticationError", ran("--message", trial.CAPITAL, key=trial.WRONG_KEY)),
    }
)
