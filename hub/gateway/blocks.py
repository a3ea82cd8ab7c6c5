"""An answer as blocks, one after the other, for the dialects that number and close what they say."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from hubspoke.types import Delta, ToolCallPart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hubspoke.gathered import Answer


class Kind(StrEnum):
    """What a block holds."""

    THINKING = "thinking"
    TEXT = "text"
    CALL = "call"


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of an answer, by its number; a call has an id and a name."""

    index: int
    kind: Kind
    call_id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """A block begins."""

    block: Block


@dataclass(frozen=True, slots=True)
class Added:
    """A block goes on."""

    block: Block
    text: str


@dataclass(frozen=True, slots=True)
class Closed:
    """A block has ended, and this is all of it."""

    block: Block
    content: str


Step: TypeAlias = Opened | Added | Closed


class Blocks:
    """Cuts what a model says into blocks. A call that the engine gave no id gets one that begins with *call_prefix*."""

    def __init__(self, call_prefix: str) -> None:
        self._call_prefix = call_prefix
        self._open: Block | None = None
        self._content: list[str] = []
        self._calls: dict[int, Block] = {}
        self._count = 0

    @property
    def has_calls(self) -> bool:
        """Whether any tool was called."""
        return bool(self._calls)

    def take(self, delta: Delta) -> Iterator[Step]:
        """Say what the delta does to the blocks."""
        if delta.thinking:
            yield from self._add(Kind.THINKING, delta.thinking)
        if delta.text:
            yield from self._add(Kind.TEXT, delta.text)
        for part in delta.tool_calls:
            yield from self._call(part)

    def close(self) -> Iterator[Step]:
        """End the block that is open, if any."""
        if self._open is not None:
            yield Closed(self._open, "".join(self._content))
            self._open = None
            self._content = []

    def _add(self, kind: Kind, text: str) -> Iterator[Step]:
        block = self._open
        if block is None or block.kind is not kind:
            block = Block(self._count, kind)
            yield from self._begin(block)
        self._content.append(text)
        yield Added(block, text)

    def _call(self, part: ToolCallPart) -> Iterator[Step]:
        block = self._calls.get(part.index)
        if block is None:
            call_id = part.id or self._call_prefix + secrets.token_hex(12)
            block = self._calls[part.index] = Block(self._count, Kind.CALL, call_id, part.name)
            yield from self._begin(block)
        if part.arguments:
            # What an engine adds to a call that has ended already still goes to its number: clients go by that.
            if block is self._open:
                self._content.append(part.arguments)
            yield Added(block, part.arguments)

    def _begin(self, block: Block) -> Iterator[Step]:
        yield from self.close()
        self._open = block
        self._count += 1
        yield Opened(block)


def blocks_of(answer: Answer, call_prefix: str) -> tuple[Closed, ...]:
    """Give a whole answer as blocks: what was thought, what was said, what was called."""
    blocks = Blocks(call_prefix)
    calls = tuple(
        ToolCallPart(index, call.id, call.name, call.arguments)
        for index, call in enumerate(answer.tool_calls)
    )
    steps = [
        *blocks.take(Delta(thinking=answer.thinking)),
        *blocks.take(Delta(answer.text)),
        *blocks.take(Delta(tool_calls=calls)),
        *blocks.close(),
    ]
    return tuple(step for step in steps if isinstance(step, Closed))
