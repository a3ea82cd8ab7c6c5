"""What the demo looks like on a terminal: every spoke has a colour, and answers grow side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from examples.demo import words
from examples.demo.events import (
    Act,
    Done,
    Failed,
    Froze,
    Kept,
    Killed,
    Lost,
    Memory,
    NoOllama,
    OwnOllama,
    Refused,
    Returned,
    Status,
    Step,
    Tally,
)
from examples.demo.mesh import SPOKES
from hubspoke.cli.output import gauge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from examples.demo.board import Board, Card
    from examples.demo.events import Event
    from examples.demo.mesh import SpokePlan

COLOURS: Final = dict(zip((plan.name for plan in SPOKES), ("cyan", "magenta"), strict=True))
GOOD: Final = ("✓", "green")
BAD: Final = ("✗", "red")
NONE: Final = ("", "")
CURSOR: Final = "▌"
MOVED: Final = "↪ "


def lines(event: Event, *, has_board: bool) -> Iterator[RenderableType]:
    """Give what is printed for *event*; questions are to be seen on the board, when there is one."""
    match event:
        case Froze() | Killed() | Lost() | Returned():
            yield _about_spoke(event)
        case Act() | Kept() | Done() | Failed():
            yield from ("", *_about_the_demo(event))
        case Memory():
            yield Padding(_memory(event), (1, 2))
        case Step():
            yield _step(event)
        case Tally():
            yield _marked(GOOD, words.result(event))
        case OwnOllama():
            yield _marked(GOOD, words.own_ollama(event))
        case NoOllama():
            yield _marked(NONE, Text(words.no_ollama(event), style="dim"))
        case Status():
            names = " and ".join(str(spoke["name"]) for spoke in event.spokes)
            yield _marked(GOOD, f"`{event.command}` beside it lists {names} too")
        case Refused() if not has_board:
            yield _marked(GOOD, f"what only it had is refused in plain words: {event.message}")


def board(state: Board, now_s: float) -> RenderableType:
    """Draw the spokes side by side, each with the questions that it has, and below who waits."""
    grid = Table.grid(expand=True, padding=(0, 1))
    for _ in SPOKES:
        grid.add_column(ratio=1)
    grid.add_row(*(_spoke(plan, state, now_s) for plan in SPOKES))
    return Group(grid, _waiting(state))


def _spoke(plan: SpokePlan, state: Board, now_s: float) -> Panel:
    trouble = state.troubles.get(plan.name)
    colour = "red" if trouble else COLOURS[plan.name]
    cards = [_card(card, COLOURS[plan.name], now_s) for card in state.of(plan.name)]
    title = Text.assemble((plan.name, f"bold {colour}"), (f" {trouble}" if trouble else "", "red"))
    subtitle = Text(f"{' and '.join(plan.models)}, {plan.slots} slots", style="dim")
    content = Group(*cards) if cards else Text("idle", style="dim")
    return Panel(content, title=title, subtitle=subtitle, border_style=colour, title_align="left")


def _card(card: Card, colour: str, now_s: float) -> Text:
    moved = MOVED if card.attempt > 1 else ""
    line = Text.assemble((moved, "yellow"), (card.prompt, "dim"), "  ", (card.shown(now_s), colour))
    if not card.is_over(now_s):
        return line.append(CURSOR, style=colour)
    if card.refusal:
        return line.append(card.refusal, style="red")
    mark, style = GOOD if card.is_right else BAD
    return line.append(f" {mark}", style=style)


def _waiting(state: Board) -> Text:
    waiting = state.waiting()
    if not waiting:
        return Text("  shown slower than it comes", style="dim")
    loading = sorted({card.loading for card in waiting if card.loading})
    awaited = f"{' and '.join(loading)} to load a model" if loading else "a free slot"
    return Text(f"  {len(waiting)} waiting for {awaited}", style="yellow")


def _step(event: Step) -> Table:
    row = Table.grid(expand=True, padding=(0, 2, 0, 0))
    row.add_column(width=41)
    row.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    row.add_column(justify="right", width=6)
    what = Text.assemble("  ", GOOD, " ", event.what)
    row.add_row(what, Text(event.command, style="dim"), Text(f"{event.took_s:.1f} s", style="dim"))
    return row


def _about_spoke(event: Froze | Killed | Lost | Returned) -> RenderableType:
    spoke = (event.spoke, COLOURS.get(event.spoke, ""))
    match event:
        case Froze():
            return _marked(
                BAD, Text.assemble(spoke, " hangs: its process is stopped, its connections stay open")
            )
        case Killed():
            return _marked(BAD, Text.assemble(spoke, " is killed, without a word"))
        case Lost():
            return _marked(GOOD, f"the hub knew after {event.after_s * 1_000:.0f} ms, and asks others")
        case Returned():
            news = f" takes work again after {event.after_s:.1f} s, with the certificate that it had"
            return _marked(GOOD, Text.assemble(spoke, news))


def _about_the_demo(event: Act | Kept | Done | Failed) -> Iterator[RenderableType]:
    match event:
        case Act():
            yield Text(event.title, style="bold")
        case Kept():
            yield Text("The mesh stays until Ctrl-C. In another terminal, in this folder:", style="bold")
            yield from (_to_type(command) for command in words.to_look_around(event.environment))
        case Done():
            yield from (Rule(style="dim"), _marked(GOOD, words.summary(event)), "")
            yield Text("What next: a mesh of two machines of your own", style="bold")
            for where, commands in words.next_steps():
                yield from (Text(f"  {where}", style="dim"), *(_to_type(command) for command in commands))
        case Failed():
            yield _marked(BAD, Text(f"The demo failed: {event.message}.", style="bold red"))
            yield from (_marked(NONE, Text(f"{event.log}: {line}", style="dim")) for line in event.lines)
            yield _marked(NONE, event.advice)


def _memory(memory: Memory) -> Table:
    table = Table("", "Memory of the machine", "Models in it", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for spoke in memory.spokes:
        colour = COLOURS.get(spoke.name, "")
        table.add_row(
            Text(spoke.name, style=f"bold {colour}"),
            Text("\n".join(room.described(gauge) for room in words.rooms(spoke))),
            Text("\n".join(words.model_memory(model) for model in spoke.inventory.models), style=colour),
        )
    return table


def _marked(mark: tuple[str, str], text: str | Text) -> Table:
    """Put *mark* in front of *text*, whose further lines stay behind it."""
    row = Table.grid()
    row.add_column(width=4)
    row.add_column()
    row.add_row(Text.assemble("  ", mark), text if isinstance(text, Text) else Text(text))
    return row


def _to_type(command: str) -> Text:
    """Leave a command in one piece, so that it can be copied."""
    return Text(f"    {command}", no_wrap=True, overflow="ignore")
