"""Whole answers, put together from what comes one by one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hubspoke.errors import EngineTruncated
from hubspoke.types import Delta, Embeddings, Finished, Started, ToolCall

if TYPE_CHECKING:
    from hubspoke.types import EmbedEvent, Event, ToolCallPart, Vector


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: its text, who made it, what it cost, and what the model thought and called."""

    text: str
    started: Started
    finished: Finished
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Vectors:
    """What texts mean, in their order; who made the vectors, and what they cost."""

    vectors: tuple[Vector, ...]
    started: Started
    finished: Finished


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)

    def add(self, part: ToolCallPart) -> None:
        self.id = self.id or part.id
        self.name = self.name or part.name
        self.arguments.append(part.arguments)


class Gathered:
    """An answer so far."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls: dict[int, _Call] = {}
        self._started: Started | None = None
        self._finished: Finished | None = None

    @property
    def text(self) -> str:
        """What it says."""
        return "".join(self._texts)

    @property
    def thinking(self) -> str:
        """What the model thought."""
        return "".join(self._thoughts)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """What the model called; the arguments of the last call may be only half there."""
        calls = (self._calls[index] for index in sorted(self._calls))
        return tuple(ToolCall(call.name, "".join(call.arguments), call.id) for call in calls)

    @property
    def started(self) -> Started | None:
        """Who makes it."""
        return self._started

    def add(self, event: Event) -> None:
        """Take in what happened next."""
        match event:
            case Delta():
                self._texts.append(event.text)
                self._thoughts.append(event.thinking)
                for part in event.tool_calls:
                    self._calls.setdefault(part.index, _Call()).add(part)
            case Started():
                self._started = event
            case Finished():
                self._finished = event

    def answer(self) -> Answer:
        """Give the whole; raise EngineTruncated when something is missing."""
        if self._started is None or self._finished is None:
            raise _incomplete()
        return Answer(
            self.text,
            self._started,
            self._finished,
            thinking=self.thinking,
            tool_calls=self.tool_calls,
        )


class GatheredVectors:
    """The vectors of *texts* texts so far."""

    def __init__(self, texts: int) -> None:
        self._texts = texts
        self._vectors: list[Vector] = []
        self._started: Started | None = None
        self._finished: Finished | None = None

    def add(self, event: EmbedEvent) -> None:
        """Take in what happened next; raise EngineTruncated when vectors come out of order."""
        match event:
            case Embeddings():
                if event.first != len(self._vectors):
                    raise EngineTruncated("vectors are missing from the answer; ask again")
                self._vectors += event.vectors
            case Started():
                self._started = event
            case Finished():
                self._finished = event

    def vectors(self) -> Vectors:
        """Give the whole; raise EngineTruncated when something is missing."""
        if self._started is None or self._finished is None or len(self._vectors) != self._texts:
            raise _incomplete()
        return Vectors(tuple(self._vectors), self._started, self._finished)


def _incomplete() -> EngineTruncated:
    return EngineTruncated(
        "the answer is not whole, or does not say who made it; ask again, or update the hub"
    )
