"""Record `hubspoke chat` for the docs: a real mesh, the shipped models, a real shell at a real pseudo-terminal.

python -m tools.record_chat         # writes docs/images/chat.svg and chat.cast; needs a POSIX system
"""

from __future__ import annotations

import asyncio
import codecs
import fcntl
import json
import os
import re
import select
import struct
import subprocess
import sys
import sysconfig
import tempfile
import termios
import time
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from examples.demo.mesh import APP, DEN, running
from examples.demo.programs import Programs
from hubspoke.paths import STATE_DIR_VARIABLE
from tools.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.demo.events import Event

IMAGES: Final = Path(__file__).resolve().parent.parent / "docs" / "images"
TITLE: Final = "hubspoke chat"
WIDTH: Final = 80
HEIGHT: Final = 24
SHELL: Final = "/bin/sh"
TERM: Final = "xterm-256color"
SHELL_PROMPT: Final = "$ "

KEY_S: Final = 0.06
THINK_S: Final = 0.8
"""How fast somebody types, and how long before it: so that others can follow."""
ANSWER_TIMEOUT_S: Final = 30.0

SCRIPT: Final = (
    (SHELL_PROMPT, "hubspoke chat --temperature 0"),
    ("Which one? ", "2"),
    ("tiny> ", "capital of france"),
    ("tiny> ", "/system You are bob."),
    ("tiny> ", "who are you"),
    ("tiny> ", "count to 25"),
    ("tiny> ", "/model nano"),
    ("nano> ", "upper hubspoke"),
    ("nano> ", "/stats"),
    ("nano> ", "/bye"),
)
"""What is waited for, and what is typed then."""

# Whoever reads our pages asks nobody else for a font.
_OWN_FONTS: Final = re.sub(r"@font-face {{.*?}}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)

_AT_A_TERMINAL: Final = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


def main() -> None:
    """Record it."""
    with (
        tempfile.TemporaryDirectory(prefix="hubspoke-record-") as directory,
        Programs(Path(directory)) as programs,
    ):
        recording = asyncio.run(_record(Path(directory), programs))
    (IMAGES / "chat.cast").write_text(recording.cast(), encoding="utf-8")
    (IMAGES / "chat.svg").write_text(recording.svg(), encoding="utf-8")


class Recording:
    """What was shown, and when."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._began_at = int(time.time())
        self._shown: list[tuple[float, str]] = []

    @property
    def output(self) -> str:
        """Everything that was written to the terminal."""
        return "".join(text for _, text in self._shown)

    def add(self, text: str) -> None:
        """Take in what was written now."""
        self._shown.append((time.monotonic() - self._began_s, text))

    def cast(self) -> str:
        """Give it as an asciicast, version 2."""
        header = {
            "version": 2,
            "width": WIDTH,
            "height": HEIGHT,
            "timestamp": self._began_at,
            "title": TITLE,
            "env": {"SHELL": SHELL, "TERM": TERM},
        }
        lines: list[object] = [header, *([round(at, 3), "o", said] for at, said in self._shown)]
        return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)

    def svg(self) -> str:
        """Draw what the terminal shows at the end."""
        screen = Screen(WIDTH)
        screen.write(self.output)
        console = Console(width=WIDTH, record=True, file=StringIO(), force_terminal=True)
        console.print(screen.text())
        return console.export_svg(title=TITLE, code_format=_OWN_FONTS)


async def _record(state: Path, programs: Programs) -> Recording:
    async with running(state, programs, _tell) as mesh:
        await mesh.join(DEN)
        await mesh.start(DEN)
        return await asyncio.to_thread(_talk, state / APP)


def _tell(event: Event) -> None:
    print(event, file=sys.stderr)


def _talk(state: Path) -> Recording:
    recording = Recording()
    with _shell(state) as terminal:
        decoder = codecs.getincrementaldecoder("utf-8")()

        def watch(lasts_s: float, sign: str | None = None) -> bool:
            """Record for so long, or until *sign* is the last thing that is shown; say whether it is."""
            ends_s = time.monotonic() + lasts_s
            while sign is None or not recording.output[seen:].endswith(sign):
                ready, _, _ = select.select([terminal], [], [], max(0.0, ends_s - time.monotonic()))
                if not ready:
                    return False
                recording.add(decoder.decode(os.read(terminal, 65_536)))
            return True

        seen = 0
        for sign, line in (*SCRIPT, (SHELL_PROMPT, "")):
            if not watch(ANSWER_TIMEOUT_S, sign):
                raise SystemExit(f"record_chat: {sign!r} was not shown within {ANSWER_TIMEOUT_S:g} s")
            seen = len(recording.output)
            watch(THINK_S)
            for key in f"{line}\r" if line else "":
                os.write(terminal, key.encode())
                watch(KEY_S)
    return recording


@contextmanager
def _shell(state: Path) -> Iterator[int]:
    """Run a shell at a terminal; give the end that somebody sits at."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    environ = {
        "PATH": os.pathsep.join((sysconfig.get_path("scripts"), os.defpath)),
        "PS1": SHELL_PROMPT,
        "TERM": TERM,
        "HOME": str(state),
        "LANG": "C.UTF-8",
        STATE_DIR_VARIABLE: str(state),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", _AT_A_TERMINAL, SHELL, "-i"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env=environ,
        cwd=state,
    )
    os.close(slave)
    try:
        yield master
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()
        os.close(master)


if __name__ == "__main__":
    main()
