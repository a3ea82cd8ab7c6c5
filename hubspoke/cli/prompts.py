"""Secrets that people type or pass in: from a file, a pipe or the terminal, never from the command line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from hubspoke.cli import streams
from pki.keys import PASSPHRASE_BYTES_MIN

if TYPE_CHECKING:
    from pathlib import Path

    from hubspoke.enrol import Pending

SECRET_BYTES_MAX: Final = 4096
"""More than any token or passphrase has."""


def read_token(token_file: Path | None, *, begun: str | None = None) -> str:
    """Read a join token: from *token_file* (`-` is standard input), else from a pipe, else from the terminal.

    Nobody is asked for one, and an empty pipe is none, while a join that was *begun* before has not come to its end.
    """
    if begun is not None and token_file is None:
        return (not sys.stdin.isatty() and streams.read_text(SECRET_BYTES_MAX).strip()) or begun
    if token_file is not None and str(token_file) != "-":
        with token_file.open(encoding="utf-8", errors="replace") as file:
            return file.read(SECRET_BYTES_MAX)
    if token_file is not None or not sys.stdin.isatty():
        return streams.read_text(SECRET_BYTES_MAX)
    answer: str = click.prompt("Join token (it is not shown)", hide_input=True, err=True)
    return answer


def tell_that_it_waits(pending: Pending) -> None:
    """Say that an operator has to let this machine in, and with which command."""
    click.echo(
        f"Waiting to be let in as {pending.name!r}. Whoever runs the mesh compares this key with the one in "
        f"`hubspoke nodes list`:\n\n    {pending.key}\n\nand runs\n\n    hubspoke nodes approve {pending.name}\n\n"
        f"before {pending.until:%Y-%m-%d %H:%M} UTC. Ctrl-C leaves; the same command goes on with it, without the token.",
        err=True,
    )


def read_passphrase(
    passphrase_file: Path | None, prompt: str = "Passphrase for the root key", *, is_new: bool = True
) -> bytes:
    """Read the root key's passphrase: the first line of *passphrase_file* (`-` is standard input), else from the terminal.

    One that *is_new* is asked for twice.
    """
    if passphrase_file is not None and str(passphrase_file) == "-":
        return streams.read_text(SECRET_BYTES_MAX).partition("\n")[0].rstrip("\r").encode()
    if passphrase_file is not None:
        with passphrase_file.open("rb") as file:
            return file.readline(SECRET_BYTES_MAX).rstrip(b"\r\n")
    if not sys.stdin.isatty():
        raise click.UsageError(
            "there is no terminal to ask for the root key's passphrase; give --passphrase-file"
            + (", or --no-passphrase for a mesh that is only tried out" if is_new else "")
        )
    question = f"{prompt}, {PASSPHRASE_BYTES_MIN} characters or more" if is_new else prompt
    answer: str = click.prompt(question, hide_input=True, confirmation_prompt=is_new, err=True)
    return answer.encode()
