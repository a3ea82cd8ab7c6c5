"""The demo as plain lines: for a pipe, a log, or a terminal without colours."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from examples.demo import words
from examples.demo.events import (
    Act,
    Answered,
    Asked,
    Began,
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
    Said,
    Status,
    Step,
    Tally,
    Waits,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from typing import TextIO

    from examples.demo.events import Event
    from hubspoke.clock import Clock

ANSWER_LENGTH: Final = 48


class PlainShow:
    """Lines of ASCII, each with the seconds since the start."""

    def __init__(self, out: TextIO, clock: Clock) -> None:
        self._out = out
        self._clock = clock
        self._began_s = clock.monotonic()

    def tell(self, event: Event) -> None:
        """Write the lines of one event."""
        at_s = self._clock.monotonic() - self._began_s
        for line in _lines(event):
            self._out.write(f"{at_s:6.2f} s  {line}\n" if line else "\n")
        self._out.flush()

    @asynccontextmanager
    async def stage(self) -> AsyncIterator[None]:
        """Do nothing special."""
        yield

    async def pause(self) -> None:
        """Waste no time."""


def _lines(event: Event) -> Iterator[str]:
    match event:
        case Asked() | Waits() | Began() | Said() | Answered() | Refused():
            yield f"  #{event.number:<3}{_about_question(event)}"
        case Froze() | Killed() | Lost() | Returned():
            yield f"  {_about_spoke(event)}"
        case Act() | Kept() | Done() | Failed():
            yield from ("", *_about_the_demo(event))
        case Memory():
            yield from _memory(event)
        case Step():
            yield f"  ok {event.took_s:5.2f} s  {event.what:<38}  {event.command and '$ ' + event.command}".rstrip()
        case Tally():
            yield f"  {words.result(event)}"
        case OwnOllama():
            yield f"  {words.own_ollama(event)}"
        case NoOllama():
            yield f"  {words.no_ollama(event)}"
        case Status():
            yield f"  $ {event.command}  lists {' and '.join(str(spoke['name']) for spoke in event.spokes)} too"


def _about_question(event: Asked | Waits | Began | Said | Answered | Refused) -> str:
    match event:
        case Asked():
            return f"? {event.model}: {event.prompt}"
        case Waits():
            return f". {event.loading} loads the model" if event.loading else ". all slots are busy"
        case Began():
            return f". {event.spoke} begins" + (f", attempt {event.attempt}" if event.attempt > 1 else "")
        case Said():
            return f"| {words.clean(event.text)}"
        case Answered():
            verdict = "right" if event.is_right else "WRONG"
            text = words.shortened(words.clean(event.text), ANSWER_LENGTH)
            return f"= {verdict}, {event.spoke}: {event.prompt} -> {text}  ({event.took_s:.2f} s)"
        case Refused():
            return f"! refused ({event.reason}): {event.message}"


def _about_spoke(event: Froze | Killed | Lost | Returned) -> str:
    match event:
        case Froze():
            return f"{event.spoke} hangs: its process is stopped, its connections stay open"
        case Killed():
            return f"{event.spoke} is killed, without a word"
        case Lost():
            return f"the hub knows that {event.spoke} is lost, after {event.after_s * 1_000:.0f} ms"
        case Returned():
            return f"{event.spoke} takes work again after {event.after_s:.2f} s, with the certificate that it had"


def _memory(memory: Memory) -> Iterator[str]:
    for spoke in memory.spokes:
        yield f"  {spoke.name:<6} {spoke.slots} slots"
        yield from (f"         {room.described(words.in_figures)}" for room in words.rooms(spoke))
        yield from (f"         {words.model_memory(model)}" for model in spoke.inventory.models)


def _about_the_demo(event: Act | Kept | Done | Failed) -> Iterator[str]:
    match event:
        case Act():
            yield f"== {event.title}"
        case Kept():
            yield "The mesh stays until Ctrl-C. In another terminal, in this folder:"
            yield from (f"  {command}" for command in words.to_look_around(event.environment))
        case Done():
            yield from (
                f"All in all: {words.summary(event)}",
                "",
                "What next: a mesh of two machines of your own",
            )
            for where, commands in words.next_steps():
                yield from (f"  {where}", *(f"    {command}" for command in commands))
        case Failed():
            yield f"The demo failed: {event.message}."
            yield from (f"  {event.log}: {line}" for line in event.lines)
            yield f"What to do: {event.advice}"
