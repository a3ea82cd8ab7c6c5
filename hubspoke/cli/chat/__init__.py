"""`hubspoke chat`."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click
from rich.console import Console

from hubspoke.cli import options
from hubspoke.cli.chat.choice import choose
from hubspoke.cli.chat.commands import Bye, obey
from hubspoke.cli.chat.conversation import Conversation
from hubspoke.cli.chat.lines import HISTORY_FILE, piped, read_turn, typed
from hubspoke.cli.chat.session import Session
from hubspoke.cli.failures import Exit, exit_code, told
from hubspoke.cli.names import complete_models
from hubspoke.cli.terminal import one_line
from hubspoke.errors import ContextTooLong, MeshError
from hubspoke.paths import locate
from hubspoke.sync import SyncMesh
from hubspoke.types import Effort, Sampling
from pki.errors import PkiError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pki.address import Address


@click.command("chat")
@click.argument("model", required=False, shell_complete=complete_models)
@options.system
@options.think
@options.temperature
@options.seed
@options.hubs
@options.state_dir
def command(
    *,
    model: str | None,
    system: str,
    think: str | None,
    temperature: float | None,
    seed: int | None,
    hubs: tuple[Address, ...],
    state_dir: Path | None,
) -> None:
    """Talk with MODEL, turn by turn. Default: the one that is in memory, or a choice.

    /help lists what else can be typed. What you type is remembered for the next time, on this machine alone. From a
    pipe, each line is a turn, and the exit code is that of the first turn that failed.
    """
    directory = locate(state_dir).client
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    lines: AbstractContextManager[Callable[[str], str]] = (
        typed(directory / HISTORY_FILE) if is_terminal else nullcontext(piped)
    )
    with SyncMesh(directory, hubs) as mesh, lines as read:
        name = model or choose(mesh.models(), read if is_terminal else None)
        session = Session(
            mesh,
            Conversation(name, system, None if think is None else Effort(think)),
            Sampling(temperature=temperature, seed=seed),
            Console(highlight=False) if is_terminal else None,
        )
        if is_terminal:
            click.echo(one_line(f"You talk with {name}. /help lists the commands, Ctrl-D ends."))
            talk(session, read)
        else:
            raise click.exceptions.Exit(recite(session))


def talk(session: Session, read: Callable[[str], str]) -> None:
    """Let somebody at a terminal talk until they have had enough. Errors and Ctrl-C leave the conversation alive."""
    while True:
        try:
            _turn(session, read, prompt=f"{one_line(session.conversation.model)}> ")
        except KeyboardInterrupt:
            click.echo(err=True)
        except EOFError:
            click.echo()
            return
        except Bye:
            return


def recite(session: Session) -> Exit:
    """Let a pipe talk to its end, and give the exit code of the first turn that failed."""
    codes: list[Exit] = []
    while True:
        try:
            code = _turn(session, piped, prompt="")
        except (EOFError, Bye):
            return next((code for code in codes if code is not Exit.DONE), Exit.DONE)
        codes.append(code)


def _turn(session: Session, read: Callable[[str], str], prompt: str) -> Exit:
    """Read one turn and do what it says; a failure is a sentence and a code."""
    text = read_turn(read, prompt)
    try:
        if text.startswith("/"):
            click.echo(obey(session, text), err=not sys.stdout.isatty())
        elif text:
            session.ask(text)
    except ContextTooLong as error:
        click.echo(f"Error: {told(str(error))} /clear forgets what was said.", err=True)
        return exit_code(error)
    except (MeshError, PkiError) as error:
        click.echo(f"Error: {told(str(error))}", err=True)
        return exit_code(error)
    except click.UsageError as error:
        click.echo(f"Error: {told(error.message)}", err=True)
        return Exit.USAGE
    except OSError as error:
        if error.filename is None:  # a closed pipe, which click ends quietly
            raise
        click.echo(f"Error: {told(f'{error.filename}: {error.strerror}')}", err=True)
        return Exit.FAILED
    return Exit.DONE
