"""Showing a delegation while it happens: a live tree on a terminal, lines elsewhere, JSON for programs."""

from __future__ import annotations

from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING, Final, Protocol

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text
from rich.tree import Tree

from hubspoke.cli.delegating.view import View, line_of, short
from hubspoke.cli.failures import Exit, fail
from hubspoke.cli.output import plain, write_json
from hubspoke.cli.terminal import one_line, printable
from hubspoke.types import DelegationState, SubtaskState

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractContextManager
    from typing import Self

    from hubspoke.types import DelegationEvent, DelegationInfo

FRAMES_PER_S: Final = 8
_STYLES: Final = {
    SubtaskState.RUNNING: "cyan",
    SubtaskState.IN_DOUBT: "yellow",
    SubtaskState.REPAIRING: "yellow",
    SubtaskState.PARKED: "yellow",
    SubtaskState.DONE: "green",
    SubtaskState.ACCEPTED: "green",
    SubtaskState.FAILED: "red",
    SubtaskState.CANCELLED: "red",
}


class Screen(Protocol):
    """Who shows what happens."""

    def show(self, event: DelegationEvent, view: View) -> None:
        """Show *event*, after which all of it stands as *view* says."""


async def shown(
    info: DelegationInfo, events: AsyncGenerator[DelegationEvent, None], *, as_json: bool
) -> View:
    """Show *events* as they come, and give how the delegation stands after the last one."""
    view = View()
    with _screen(info, as_json=as_json) as screen:
        async with aclosing(events):
            async for event in events:
                view = view.after(event)
                screen.show(event, view)
                if view.state is DelegationState.PARKED:
                    break  # nothing goes on before somebody has decided, and that may be whoever watches
    return view


def conclude(info: DelegationInfo, view: View, *, as_json: bool) -> None:
    """Write the result of a delegation that was watched, and end the command as it has ended."""
    if view.result and not as_json:
        click.echo(printable(view.result))
    match view.state:
        case DelegationState.SUCCEEDED:
            return
        case DelegationState.PARTIAL:
            click.echo(f"Something is missing: {one_line(view.problem)}", err=True)
        case DelegationState.PARKED:
            fail(
                f"it is parked: {view.problem or 'a subtask needs your decision'}; "
                f"`hubspoke delegations resolve {info.id}` decides",
                Exit.FAILED,
            )
        case _:
            fail(view.problem or f"the delegation has {view.state}", Exit.FAILED)


def tree_of(title: str, view: View) -> Tree:
    """Draw how a delegation stands."""
    tree = Tree(Text.assemble((short(title), "bold"), f"  {view.headline}"))
    for state, row in view.rows():
        tree.add(Text(one_line(row), style=_STYLES.get(state, "")))
    if view.problem:
        tree.add(Text(one_line(view.problem), style="red"))
    return tree


def _screen(info: DelegationInfo, *, as_json: bool) -> AbstractContextManager[Screen]:
    if as_json:
        return nullcontext(JsonScreen())
    console = Console(stderr=True)
    return TreeScreen(console, info.title) if console.is_terminal else nullcontext(LineScreen())


class JsonScreen:
    """Writes each event for programs, one object a line."""

    def show(self, event: DelegationEvent, view: View) -> None:  # noqa: ARG002  # a screen's signature
        """Write one object."""
        kind = type(event.happening).__name__
        write_json({"event": _NAMES[kind], "seq": event.seq, "at": event.at, **plain(event.happening)})


class LineScreen:
    """Writes a line for each event that is kept, for whoever reads it later."""

    def show(self, event: DelegationEvent, view: View) -> None:  # noqa: ARG002  # a screen's signature
        """Write one line."""
        if line := line_of(event):
            click.echo(one_line(line), err=True)


class TreeScreen:
    """Draws all of it again and again in the same place."""

    def __init__(self, console: Console, title: str) -> None:
        self._title = title
        self._live = Live(console=console, refresh_per_second=FRAMES_PER_S, transient=False)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave what is drawn."""
        self._live.stop()

    def show(self, event: DelegationEvent, view: View) -> None:  # noqa: ARG002  # a screen's signature
        """Draw how all of it stands now."""
        self._live.update(tree_of(self._title, view))


_NAMES: Final = {
    "StateChanged": "state",
    "Planned": "planned",
    "SubtaskStatus": "subtask",
    "Reviewed": "reviewed",
    "Progress": "progress",
}
