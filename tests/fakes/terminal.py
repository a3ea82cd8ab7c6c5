"""A terminal with somebody at it who reads and types. POSIX only."""

from __future__ import annotations

import codecs
import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT_S: Final = 20.0
"""Longest wait for anything that a test expects to see."""

INSIST_S: Final = 2.0
"""How long people wait before they press a key again."""

COLUMNS: Final = 100
LINES: Final = 30

CTRL_C: Final = "\x03"
CTRL_D: Final = "\x04"
UP: Final = "\x1b[A"

_NOT_OF_A_TERMINAL: Final = {"COLUMNS", "LINES", "NO_COLOR"}
_CONTROLS: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|[\r\a]")
# Ctrl-C reaches a program whose terminal this is; it takes it before it becomes `hubspoke`.
_OWNS_THE_TERMINAL: Final = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
_HUBSPOKE: Final = f"{_OWNS_THE_TERMINAL}; from hubspoke.cli import main; main()"
_ANY: Final = f"{_OWNS_THE_TERMINAL}; import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"


class Terminal:
    """What a program shows, and what is typed for it."""

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.raw = ""
        self._master = master
        self._seen = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a read may end within a sign

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def enter(self, line: str) -> None:
        """Type a line."""
        self.type(f"{line}\r")

    def until(self, sign: str) -> str:
        """Read until *sign* is shown, and give all that was shown since the last time, without colours."""
        found = self._found(sign, WAIT_S)
        assert found is not None, f"no {sign!r} after: {self.shown[self._seen :]!r}"
        return found

    def insist(self, key: str, sign: str) -> str:
        """Press *key*, again and again as people do when nothing happens, until *sign* is shown.

        Python's own line editor misses a signal that comes just after it has shown a key and before it waits for the next.
        """
        for _ in range(round(WAIT_S / INSIST_S)):
            self.type(key)
            if (found := self._found(sign, INSIST_S)) is not None:
                return found
        raise AssertionError(f"no {sign!r} after: {self.shown[self._seen :]!r}")

    def _found(self, sign: str, wait_s: float) -> str | None:
        ends_at = time.monotonic() + wait_s
        while (place := self.shown.find(sign, self._seen)) < 0:
            if not self._read(ends_at - time.monotonic()):
                return None
        before, self._seen = self._seen, place + len(sign)
        return self.shown[before : self._seen]

    def end(self) -> int:
        """Read to the end, and give the exit code."""
        while self._read(WAIT_S):
            pass
        return self.process.wait(WAIT_S)

    @property
    def shown(self) -> str:
        """Everything so far, as somebody sees it who does not mind what was overwritten."""
        return _CONTROLS.sub("", self.raw)

    def _read(self, wait_s: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, wait_s))
        if not ready:
            return False
        data = b""
        with suppress(OSError):  # Linux says that the other end is closed with an error
            data = os.read(self._master, 65_536)
        self.raw += self._decoder.decode(data)
        return bool(data)


@contextmanager
def hubspoke_at(*arguments: str) -> Iterator[Terminal]:
    """Run `hubspoke` at a terminal; it has ended when the block has."""
    with _running(_HUBSPOKE, arguments, {}) as terminal:
        yield terminal


@contextmanager
def at_terminal(*command: str, **environ: str) -> Iterator[Terminal]:
    """Run any program at a terminal; it has ended when the block has."""
    with _running(_ANY, command, environ) as terminal:
        yield terminal


@contextmanager
def _running(program: str, arguments: tuple[str, ...], environ: dict[str, str]) -> Iterator[Terminal]:
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_OF_A_TERMINAL}
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env={**inherited, "TERM": "xterm-256color", **environ},
    )
    os.close(slave)
    try:
        yield Terminal(master, process)
    finally:
        process.kill()
        process.wait()
        os.close(master)
