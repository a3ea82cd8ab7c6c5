"""Processes that are killed, frozen, and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.pauses import pause

ROOT = Path(__file__).parent.parent.parent
WAIT_S = 60.0
"""Longest wait for anything that a test expects to happen: many of these machines have two cores, and more to do."""

POLL_S = 0.02


@dataclass
class Program:
    """`python -m module arguments`, over all its lives; what it says goes to *log*."""

    module: str
    arguments: tuple[str, ...]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    lives: int = 0
    process: subprocess.Popen[bytes] | None = None
    killed: list[int] = field(default_factory=list)

    def start(self) -> None:
        """Start it."""
        assert not self.is_alive, "it runs already"
        settings = ("HUBSPOKE_", "XDG_", "CHAOS_")
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(settings)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module, *self.arguments],
                cwd=ROOT,
                env={**inherited, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.lives += 1

    @property
    def is_alive(self) -> bool:
        """Whether it runs, or is frozen."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """End it without a word."""
        assert self.process is not None
        self.killed.append(self.process.pid)
        self.process.kill()
        self.process.wait(WAIT_S)

    def freeze(self) -> None:
        """Stop it in the middle of everything."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def end(self) -> int:
        """Stop it as its owner would, and give its status."""
        assert self.process is not None
        self._signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)

    async def died(self) -> None:
        """Wait until it has killed itself."""
        async with asyncio.timeout(WAIT_S):
            while self.is_alive:
                await pause(POLL_S)
        assert self.process is not None
        assert self.process.returncode == -signal.SIGKILL, (
            f"it ended by itself: {self.log.read_text()[-2000:]}"
        )
        self.killed.append(self.process.pid)

    async def has_ended(self) -> int:
        """Wait until it has ended by itself, and give its status."""
        async with asyncio.timeout(WAIT_S):
            while self.is_alive:
                await pause(POLL_S)
        assert self.process is not None
        return self.process.returncode

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)


async def listening(port: int) -> None:
    """Wait until somebody listens on *port* of this machine."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await pause(POLL_S)
            else:
                writer.close()
                return


async def until(is_so, what: str, wait_s: float = WAIT_S) -> float:  # a function without arguments
    """Wait until *is_so*, and give the seconds that it took; *what* is said when it stays away."""
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < wait_s, f"{what}: not within {wait_s:g} s"
        await pause(POLL_S)
    return time.monotonic() - began
