"""An answer on a terminal, drawn as Markdown while it is made."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment
from rich.text import Text

from hubspoke.cli.terminal import printable
from hubspoke.cli.transcript import calling, served
from hubspoke.cli.waiting import words
from hubspoke.gathered import Gathered
from hubspoke.types import Delta, Finished, Started, Waiting

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from hubspoke.types import Event

DRAWN_HZ: Final = 10
MARGIN_LINES: Final = 3
"""What is left of the screen's height beside the part that is drawn again and again."""

_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})")


class LiveAnswer:
    """One answer of *model*, as a context. What cannot change any more scrolls away, the rest is drawn again."""

    def __init__(self, model: str, console: Console) -> None:
        self._model = model
        self._console = console
        self._live = Live(
            console=console,
            transient=True,
            refresh_per_second=DRAWN_HZ,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="visible",
        )
        self._gathered = Gathered()
        self._thought = ""
        self._said = ""

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave all that was said on the screen, also when it has no end."""
        self._live.update(Text())
        self._live.stop()
        self._flush()

    def show(self, event: Event) -> None:
        """Draw what happened."""
        self._gathered.add(event)
        match event:
            case Waiting():
                self._live.update(Text(printable(words(event, self._model)), style="dim"))
            case Started():
                self._live.update(Text())
            case Delta():
                self._add(event)
            case Finished():
                self._flush()
                for call in self._gathered.tool_calls:
                    self._console.print(Text(calling(call)))
                self._console.print(Text(served(self._gathered.started, event), style="dim"))

    def _add(self, delta: Delta) -> None:
        if delta.text:
            self._flush_thinking()
        thought, line_end, self._thought = (self._thought + delta.thinking).rpartition("\n")
        if thought.strip():
            self._console.print(Shown(_thinking(f"{thought}{line_end}")))
        done, self._said = settled(self._said + delta.text)
        if done:
            self._print_markdown(done)
        self._draw()

    def _draw(self) -> None:
        parts: list[RenderableType] = []
        if self._thought:
            parts.append(_thinking(self._thought))
        if self._said:
            parts.append(_markdown(self._said))
        room = max(1, self._console.height - MARGIN_LINES)
        self._live.update(Shown(Group(*parts), lines_max=room))

    def _flush(self) -> None:
        self._flush_thinking()
        if self._said.strip():
            self._print_markdown(self._said)
        self._said = ""
        self._draw()

    def _flush_thinking(self) -> None:
        if self._thought.strip():
            self._console.print(Shown(_thinking(self._thought)))
        self._thought = ""

    def _print_markdown(self, text: str) -> None:
        self._console.print(Shown(_markdown(text)))


class Shown:
    """Something drawn without what a terminal would obey, and only its last *lines_max* lines when that is given."""

    def __init__(self, content: RenderableType, lines_max: int | None = None) -> None:
        self._content = content
        self._lines_max = lines_max

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it; a character reference in Markdown may be a sign that is none to print, so this comes last."""
        lines = console.render_lines(self._content, options, pad=False)
        for line in lines if self._lines_max is None else lines[-self._lines_max :]:
            yield from _unpadded(Segment(printable(segment.text), segment.style) for segment in line)
            yield Segment.line()


def _unpadded(line: Iterable[Segment]) -> list[Segment]:
    """Take the blanks off the end of a line: nobody wants them in what is copied from the screen."""
    segments = list(line)
    while segments and not segments[-1].text.rstrip():
        segments.pop()
    if segments:
        text, style, _ = segments.pop()
        segments.append(Segment(text.rstrip(), style))
    return segments


def settled(text: str) -> tuple[str, str]:
    """Split Markdown where what comes later changes nothing before it: at a blank line before a new block.

    Not within a fence, nor before a line that is indented and so may belong to the block above.
    """
    fence = ""
    place = offset = 0
    was_blank = False
    for line in text.splitlines(keepends=True):
        if match := _FENCE.match(line):
            fence = "" if fence and match[1].startswith(fence) else fence or match[1]
        if was_blank and not (fence and not match) and not line[0].isspace():
            place = offset
        was_blank = not fence and not line.strip()
        offset += len(line)
    return text[:place], text[place:]


def _markdown(text: str) -> Markdown:
    # A link shows its target: what it is called may not tell where it leads.
    return Markdown(text, hyperlinks=False, code_theme="ansi_dark")


def _thinking(text: str) -> Text:
    return Text(text.rstrip(), style="dim italic")
