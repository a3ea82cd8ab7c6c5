"""The standard streams: there even when whoever started us closed them, and text or nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import click

_STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
_NO_TEXT: Final = "standard input is not text in UTF-8; convert it first, for example with iconv"


def open_closed() -> None:
    """Put the null device where a standard stream was closed before we started.

    Python has `None` there, and the next file or socket would become that stream.
    """
    for number, (name, mode) in enumerate(_STREAMS):
        if getattr(sys, name) is None:
            _occupy(number)
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115  # to the end of the program


def discard_output() -> None:
    """Let what standard output still holds go nowhere, when nothing more can be written where it goes."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def read_text(chars_max: int) -> str:
    """Read standard input to its end, or to *chars_max*; raise UsageError when it is not text."""
    try:
        return _checked(sys.stdin.read(chars_max))
    except UnicodeDecodeError as error:
        raise click.UsageError(_NO_TEXT) from error


def read_line() -> str:
    """Read a line of standard input with its end, "" after the last one; raise UsageError when it is not text."""
    try:
        return _checked(sys.stdin.readline())
    except UnicodeDecodeError as error:
        raise click.UsageError(_NO_TEXT) from error


def _checked(text: str) -> str:
    """Refuse what stands for bytes that are not text, which is how Python reads them where no locale is set."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise click.UsageError(_NO_TEXT) from error
    return text


def _occupy(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number)
            os.close(null)
