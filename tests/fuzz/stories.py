"""Answers as the mesh makes them, drawn, and what whoever hears one has to have heard at its end."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from hubspoke.errors import STATUS, MeshError
from hubspoke.types import (
    Delta,
    Finished,
    FinishReason,
    ModelKey,
    SpokeId,
    Started,
    ToolCallPart,
    Usage,
    Waiting,
)
from tests.fuzz.draw import Draw

CALLS_MAX: Final = 4
DELTAS_MAX: Final = 12
ERRORS: Final = tuple(STATUS)
ARGUMENTS: Final = (
    "",
    "{",
    "}",
    "{}",
    '{"a":',
    ' 1, "b": [null, "\u2028"]}',
    '"x',
    "[]",
    '{"a": 1}{',
    "null",
)


@dataclass(slots=True)
class Call:
    """A call of a tool as it was heard, put together."""

    id: str
    name: str
    arguments: str = ""


@dataclass(slots=True)
class Heard:
    """What a client has understood of an answer, put together; calls by their number in it."""

    text: str = ""
    thinking: str = ""
    calls: dict[int, Call] = field(default_factory=dict)

    def take(self, delta: Delta) -> None:
        """Add what a delta says."""
        self.text += delta.text
        self.thinking += delta.thinking
        for part in delta.tool_calls:
            call = self.calls.setdefault(part.index, Call(part.id, part.name))
            call.arguments += part.arguments

    def in_order(self) -> list[Call]:
        """Give the calls in the order in which they began."""
        return list(self.calls.values())


@dataclass(frozen=True, slots=True)
class Story:
    """What happens to one question: it waits, maybe starts (more than once), says something, and ends."""

    waits: tuple[Waiting, ...]
    starts: tuple[Started, ...]
    deltas: tuple[Delta, ...]
    end: Finished | MeshError

    @property
    def heard(self) -> Heard:
        """What has to be heard of it."""
        heard = Heard()
        for delta in self.deltas:
            heard.take(delta)
        return heard


def story(draw: Draw) -> Story:
    """Draw one that the mesh's contract allows."""
    fails = draw.byte() % 4 == 3
    waits = tuple(draw.many(lambda: _waiting(draw), 2))
    starts = () if fails and draw.flag() else tuple(_started(draw) for _ in range(1 + draw.rarely()))
    deltas = tuple(_deltas(draw)) if starts else ()
    return Story(waits, starts, deltas, _error(draw) if fails else _finished(draw))


def _deltas(draw: Draw) -> Iterator[Delta]:
    begun: list[int] = []
    for _ in range(draw.byte() % (DELTAS_MAX + 1)):
        match draw.byte() % 4:
            case 0:
                yield Delta(draw.text())
            case 1:
                yield Delta(thinking=draw.text())
            case _:
                parts = (_part(draw, begun) for _ in range(1 + draw.byte() % 2))
                yield Delta(tool_calls=tuple(parts))


def _part(draw: Draw, begun: list[int]) -> ToolCallPart:
    """Go on with a call, be it the last one or another, or begin one; engines give numbers from 0 on, with ids or not."""
    arguments = draw.one_of(ARGUMENTS) if draw.flag() else draw.text()
    if begun and (len(begun) >= CALLS_MAX or draw.flag()):
        return ToolCallPart(draw.one_of(begun[::-1]), arguments=arguments)
    number = len(begun)
    begun.append(number)
    return ToolCallPart(number, draw.one_of((f"call_{number}", "")), _name(draw), arguments)


def _name(draw: Draw) -> str:
    """Give a name as the hub lets spokes have some: what cannot be printed never comes so far."""
    return "".join(sign for sign in draw.text() if sign.isprintable()) or "weather"


def _started(draw: Draw) -> Started:
    return Started(
        SpokeId(_name(draw)), _name(draw), ModelKey(draw.text()), draw.byte() / 7, 1 + draw.byte() % 3
    )


def _waiting(draw: Draw) -> Waiting:
    if draw.flag():
        return Waiting()
    return Waiting(SpokeId(_name(draw)), draw.one_of((None, 0.0, 1.25, 1e6)), draw.one_of((None, 0.0, 30.0)))


def _finished(draw: Draw) -> Finished:
    counts = tuple(draw.one_of((0, 1, 7, 2**32 - 1)) for _ in range(3))
    times = tuple(draw.one_of((None, 0.0, 0.125, 1e7)) for _ in range(2))
    usage = Usage(counts[0], counts[1], draw.one_of((None, counts[2])), *times)
    return Finished(draw.one_of(tuple(FinishReason)), usage)


def _error(draw: Draw) -> MeshError:
    figures: dict[str, str | float] = {"elapsed_s": 1.5, "expected_s": 30.0} if draw.flag() else {}
    return draw.one_of(ERRORS)(draw.text(), **figures)
