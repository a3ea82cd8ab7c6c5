"""A group of commands that imports a command only to run it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import CompletionItem

from hubspoke import grpc_settings
from hubspoke.cli.failures import reported
from hubspoke.cli.streams import open_closed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


OWN_FILES: Final = 0o077


@dataclass(frozen=True, slots=True)
class Row:
    """A command: the module whose `command` it is, and its line in the help of its group."""

    module: str
    help: str


class LazyGroup(click.Group):
    """Commands by a table. Expected errors end the program with one sentence and an exit code."""

    def __init__(self, *, rows: Mapping[str, Row], **attributes: Any) -> None:
        super().__init__(**attributes)
        self.rows = rows

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Give the names in the order of the table."""
        return list(self.rows)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's
        """Import a command."""
        row = self.rows.get(cmd_name)
        if row is None:
            return None
        command = import_module(row.module).command
        assert isinstance(command, click.Command)  # noqa: S101  # every row is tested
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's
        """Write the table instead of importing every command for its help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, row.help) for name, row in self.rows.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete from the table, instead of importing every command for its name."""
        commands = [
            CompletionItem(name, help=row.help)
            for name, row in self.rows.items()
            if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def main(self, *args: Any, **extra: Any) -> Any:
        """Be the program: nobody else reads what it writes, and its environment does not say whom it trusts."""
        open_closed()
        grpc_settings.forget(os.environ)
        before = os.umask(OWN_FILES)
        try:
            return super().main(*args, **extra)
        finally:
            os.umask(before)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        with reported():
            return super().invoke(ctx)


class DefaultGroup(LazyGroup):
    """Without a command, the *default* one is meant."""

    def __init__(self, *, default: str, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.default = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default in front of its options; whoever presses TAB after nothing wants to see the commands."""
        is_bare = not ctx.resilient_parsing if not args else _is_option(ctx, args[0])
        return super().parse_args(ctx, [self.default, *args] if is_bare else args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the options of the default, too."""
        found = super().shell_complete(ctx, incomplete)
        default = self.get_command(ctx, self.default) if incomplete.startswith("-") else None
        return found if default is None else [*found, *default.shell_complete(ctx, incomplete)]


def _is_option(ctx: click.Context, word: str) -> bool:
    return word.startswith("-") and word not in ctx.help_option_names
