"""An answer in plain text: what is said on standard output, everything else on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hubspoke.cli.terminal import one_line, printable
from hubspoke.cli.waiting import WaitingLine
from hubspoke.gathered import Gathered
from hubspoke.types import Delta, Finished, FinishReason, Started, Waiting

if TYPE_CHECKING:
    from hubspoke.types import Event, ToolCall


class Transcript:
    """One answer of *model*, written as it is made."""

    def __init__(self, model: str) -> None:
        self._waiting = WaitingLine(model)
        self._gathered = Gathered()
        self._said_last = "\n"
        self._thought_last = "\n"
        self._has_thought = False

    def show(self, event: Event) -> None:
        """Write what happened."""
        self._gathered.add(event)
        match event:
            case Waiting():
                self._waiting.tell(event)
            case Started():
                self._waiting.end()
            case Delta():
                self._waiting.end()
                self._think(event.thinking)
                self._say(event.text)
            case Finished():
                self._end(event)

    def break_off(self) -> None:
        """End the line that an answer stopped in."""
        self._waiting.end()
        self._close_thinking()
        self._close_saying()

    def _think(self, text: str) -> None:
        safe = printable(text)
        if not safe:
            return
        if not self._has_thought:
            click.secho("Thinking:", err=True, dim=True)
            self._has_thought = True
        click.secho(safe, nl=False, err=True, dim=True)
        self._thought_last = safe[-1]

    def _say(self, text: str) -> None:
        safe = printable(text)
        if safe:
            self._close_thinking()
            click.echo(safe, nl=False)
            self._said_last = safe[-1]

    def _end(self, event: Finished) -> None:
        self.break_off()
        for call in self._gathered.tool_calls:
            click.echo(calling(call), err=True)
        click.echo(served(self._gathered.started, event), err=True)

    def _close_thinking(self) -> None:
        if self._thought_last != "\n":
            click.echo(err=True)
            self._thought_last = "\n"

    def _close_saying(self) -> None:
        if self._said_last != "\n":
            click.echo()
            self._said_last = "\n"


def calling(call: ToolCall) -> str:
    """Say what a model wants done."""
    return one_line(f"Calls {call.name}({call.arguments})")


def served(started: Started | None, finished: Finished) -> str:
    """Say who made an answer, how fast, and what was not plain about it."""
    usage = finished.usage
    parts = [f"{usage.output_tokens} tokens"]
    if usage.decode_s:
        parts.append(f"{usage.output_tokens / usage.decode_s:.1f} tokens/s")
    if finished.reason not in {FinishReason.STOP, FinishReason.TOOL_CALLS}:
        parts.append(f"ended early: {finished.reason}")
    if started is None:
        return ", ".join(parts)
    if started.attempt > 1:
        parts.append(f"attempt {started.attempt}")
    if started.also_named:
        parts.append(f"the name also means {', '.join(started.also_named)}")
    return one_line(f"{started.model} on {started.spoke}: {', '.join(parts)}")
