"""What a command leaves behind when it fails: one sentence on standard error, and an exit code."""

from __future__ import annotations

from contextlib import contextmanager
from enum import IntEnum, unique
from errno import ENOSPC
from typing import TYPE_CHECKING

import click

from hubspoke.cli import streams
from hubspoke.cli.terminal import printable
from hubspoke.errors import (
    AccessError,
    CapacityError,
    MeshError,
    PermissionDenied,
    QuotaExceeded,
    RateLimited,
    UnknownKey,
    UnknownNode,
    Unreachable,
)
from pki.errors import BadAddress, BadIdentity, PkiError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn


@unique
class Exit(IntEnum):
    """The exit codes of our commands; scripts rely on them."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    IDENTITY = 4
    """No identity, one that is not accepted, or a certificate or key that cannot be used."""
    FULL = 5
    """The mesh cannot take it now; later it may."""
    INTERRUPTED = 130


@contextmanager
def reported() -> Iterator[None]:
    """Turn what can be expected to go wrong into a sentence and an exit code; a defect keeps its traceback."""
    try:
        with _alone():
            yield
    except (MeshError, PkiError) as error:
        fail(str(error), exit_code(error))
    except (KeyboardInterrupt, click.Abort):  # the latter when it was at a prompt
        click.echo(err=True)
        raise click.exceptions.Exit(Exit.INTERRUPTED) from None
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # which click ends quietly
            raise
        fail(_of_the_system(error), Exit.FAILED)


@contextmanager
def _alone() -> Iterator[None]:
    """Let out what ended a group of tasks, without the group, when all of it can be expected."""
    try:
        yield
    except ExceptionGroup as group:
        expected, others = group.split((MeshError, PkiError, OSError))
        if expected is None or others is not None:
            raise
        raise _first(expected) from group


def _first(group: ExceptionGroup[Exception]) -> Exception:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first


@contextmanager
def for_admins() -> Iterator[None]:
    """Say whom to ask when this takes an admin's identity and there is another one."""
    try:
        yield
    except PermissionDenied as error:
        raise PermissionDenied(
            f"{error.message}: it takes an admin's identity. Whoever runs the mesh makes a token for one with "
            "`hubspoke token create NAME --role admin`"
        ) from error


def fail(sentence: str, code: Exit) -> NoReturn:
    """End the command with a sentence on standard error."""
    click.echo(f"Error: {told(sentence)}", err=True)
    raise click.exceptions.Exit(code)


def told(sentence: str) -> str:
    """Give the words of an error as a whole sentence, which cannot steer a terminal."""
    safe = printable(sentence).rstrip(".")
    return f"{safe[:1].upper()}{safe[1:]}{'' if safe.endswith('?') else '.'}"


def _of_the_system(error: OSError) -> str:
    if error.errno == ENOSPC and error.filename is None:
        streams.discard_output()  # or Python tries once more at its end, and has its own word on it
        return "there is no space left where standard output goes"
    return str(error) if error.filename is None else f"{error.filename}: {error.strerror}"


def exit_code(error: MeshError | PkiError) -> Exit:
    """Choose the exit code of an error."""
    match error:
        case Unreachable():
            return Exit.UNREACHABLE
        case CapacityError() | RateLimited() | QuotaExceeded():
            return Exit.FULL
        case UnknownKey() | UnknownNode():
            return Exit.FAILED
        case BadAddress() | BadIdentity():
            return Exit.USAGE
        case AccessError() | PkiError():
            return Exit.IDENTITY
        case _:
            return Exit.FAILED
