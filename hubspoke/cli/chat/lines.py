"""What people type: line by line, with a history over sessions where the system can; or what a pipe has."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Final

from hubspoke.cli.streams import read_line
from pki import disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

HISTORY_FILE: Final = "chat-history"
HISTORY_LINES_MAX: Final = 1_000
QUOTES: Final = '"""'
MORE: Final = "... "


@contextmanager
def typed(history: Path) -> Iterator[Callable[[str], str]]:
    """Give what reads a line from the terminal, and knows the lines of earlier sessions."""
    readline = _readline()
    if readline is None:
        yield input
        return
    readline.set_history_length(HISTORY_LINES_MAX)
    with suppress(OSError):  # there is none yet, or none that can be read: it begins anew
        readline.read_history_file(history)
    # What is pasted is one line to readline, however many it has: it is asked when Enter is pressed.
    readline.parse_and_bind("set enable-bracketed-paste on")
    try:
        yield input
    finally:
        with suppress(OSError):
            # It may hold whatever was asked: made before it is written, so that nobody else ever reads it.
            disk.replace(history, b"", mode=disk.SECRET_MODE)
            readline.write_history_file(history)


def piped(_prompt: str) -> str:
    """Read a line from standard input; raise EOFError after the last one."""
    line = read_line()
    if not line:
        raise EOFError
    return line.rstrip("\r\n")


def read_turn(read: Callable[[str], str], prompt: str) -> str:
    '''Read what somebody has to say: a line, or all lines between """ and """; raise EOFError at the end.'''
    line = read(prompt).strip()
    if not line.startswith(QUOTES):
        return line
    lines = [line.removeprefix(QUOTES)]
    with suppress(EOFError):  # whoever ends there has said all
        while not lines[-1].rstrip().endswith(QUOTES):
            lines.append(read(MORE))
    return "\n".join(lines).rstrip().removesuffix(QUOTES).strip()


def _readline() -> ModuleType | None:
    """Give Python's way to edit lines, which Windows lacks."""
    try:
        return import_module("readline")
    except ImportError:
        return None
