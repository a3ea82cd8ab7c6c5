"""What a terminal shows after it was written to: as much of one as rich, readline and a shell need."""

from __future__ import annotations

import re
from typing import Final

from rich.text import Text

_PART: Final = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|([\r\n\b\x07])|([^\x1b\r\n\b\x07]+)")
_PLAIN: Final = "\x1b[0m"

Cell = tuple[str, str]
"""A sign, and the colours that it has."""


class Screen:
    """All lines from the beginning on: what scrolls away stays. Lines are *width* cells long, all signs one cell."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._lines: list[list[Cell]] = [[]]
        self._row = 0
        self._column = 0
        self._colours = ""

    def write(self, output: str) -> None:
        """Take in what a program has written; raise ValueError for what this is no terminal for."""
        place = 0
        while place < len(output):
            part = _PART.match(output, place)
            if part is None:
                raise ValueError(f"cannot show {output[place : place + 20]!r}")
            place = part.end()
            arguments, letter, control, text = part.groups()
            if letter:
                self._obey(arguments, letter)
            elif control:
                self._move(control)
            else:
                self._put(text)

    def text(self) -> Text:
        """Give what it shows, with its colours and without empty lines at the end."""
        lines = ["".join(f"{_PLAIN}{colours}{sign}" for sign, colours in line) for line in self._lines]
        return Text.from_ansi("\n".join(lines).rstrip("\n"))

    def _put(self, text: str) -> None:
        for sign in text:
            if self._column == self._width:
                self._column = 0
                self._down()
            line = self._lines[self._row]
            line += [(" ", "")] * (self._column + 1 - len(line))
            line[self._column] = (sign, self._colours)
            self._column += 1

    def _move(self, control: str) -> None:
        match control:
            case "\r":
                self._column = 0
            case "\n":
                self._down()
            case "\b":
                self._column = max(0, self._column - 1)

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._lines):
            self._lines.append([])

    def _obey(self, arguments: str, letter: str) -> None:
        if arguments.startswith("?"):  # hides the cursor, or changes how keys arrive
            return
        count = int(arguments or 1) if arguments.isdecimal() or not arguments else 0
        match letter:
            case "m":
                self._colours = "" if arguments in {"", "0"} else f"{self._colours}\x1b[{arguments}m"
            case "A":
                self._row = max(0, self._row - count)
            case "C":
                self._column += count
            case "D":
                self._column = max(0, self._column - count)
            case "K":
                keeps = 0 if arguments == "2" else self._column
                del self._lines[self._row][keeps:]
            case _:
                raise ValueError(f"cannot obey {arguments}{letter}")
