"""What reaches a terminal: nothing that could steer it; and a line that is written again in its place."""

from __future__ import annotations

import shutil
import sys
from typing import Final

import click

_TO_ITS_END: Final = "\x1b[K"


def printable(text: str) -> str:
    """Give *text* without what a terminal would obey: models, engines and other machines may say anything."""
    return "".join(sign for sign in text if sign.isprintable() or sign in "\n\t")


def one_line(text: str) -> str:
    """Give *text* as one line that a terminal only shows."""
    return " ".join(printable(text).split())


class Line:
    """A line on standard error, written again in its place on a terminal, and once more below it on a pipe."""

    def __init__(self) -> None:
        self.is_alive = sys.stderr.isatty()
        self._is_shown = False

    def show(self, text: str) -> None:
        """Write *text*, in the place of what was there before."""
        safe = one_line(text)
        if not self.is_alive:
            click.echo(safe, err=True)
            return
        # One cell less than there is: a full line would make some terminals begin the next one.
        cells = shutil.get_terminal_size().columns - 1
        click.echo(f"\r{safe[:cells]}{_TO_ITS_END}", nl=False, err=True)
        self._is_shown = True

    def clear(self) -> None:
        """Take away what is there."""
        if self._is_shown:
            click.echo(f"\r{_TO_ITS_END}", nl=False, err=True)
            self._is_shown = False
