"""What the mesh answers, as it happens."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hubspoke.types.machines import ModelKey, SpokeId

Vector: TypeAlias = tuple[float, ...]
"""What a text means, as a direction: of length 1."""


PIECES_MAX: Final = 16_384
"""In one delta. Each may become an event of its own, some 200 bytes long."""


class FinishReason(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"
    TOOL_CALLS = "tool_calls"


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer cost, in tokens and seconds; `None` is unknown."""

    prompt_tokens: int
    output_tokens: int
    cached_tokens: int | None = None
    prompt_s: float | None = None
    decode_s: float | None = None


@dataclass(frozen=True, slots=True)
class ToolCallPart:
    """Some of the answer's call number *index*. The first part has id and name; *arguments* add up to a JSON object."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Delta:
    """Some of an answer: text, or thinking, or calls, never two of them. It is made of *tokens* output tokens.

    Where several pieces of what the engine wrote were gathered, *piece_lengths* has the length of each, in characters.
    """

    text: str = ""
    tokens: int = 1
    thinking: str = ""
    tool_calls: tuple[ToolCallPart, ...] = ()
    piece_lengths: tuple[int, ...] = ()

    def pieces(self) -> Iterator[Delta]:
        """Give the pieces, as the engine wrote them; nothing tells which of them the tokens belong to."""
        if not self.piece_lengths:
            yield self
            return
        first = 0
        for length in self.piece_lengths:
            past = first + length
            yield Delta(self.text[first:past], 0, self.thinking[first:past])
            first = past


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Some of the vectors: those of the texts from number *first* on."""

    first: int
    vectors: tuple[Vector, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an answer, what it cost, and the stop text that ended it, where there was one and the engine tells."""

    reason: FinishReason
    usage: Usage
    stop: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why nothing runs yet: the model is being loaded on *spoke*, or all its slots are busy when that is empty.

    A load has gone on for *elapsed_s* of the *expected_s* that it takes in all; `None` while nothing is loaded. With *silent_s*
    it does run, and *spoke* has said nothing for so long: it reads a long prompt, or its engine hangs.
    """

    spoke: SpokeId | None = None
    elapsed_s: float | None = None
    expected_s: float | None = None
    silent_s: float | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """Where an answer is made; *also_named* holds other models that the name in the request means too."""

    spoke: SpokeId
    model: str
    model_key: ModelKey
    queue_s: float
    attempt: int
    also_named: tuple[ModelKey, ...] = ()


Event: TypeAlias = Waiting | Started | Delta | Finished
"""What a client sees of one question, in this order, but for silence; only `Finished` is certain to come, and last."""

EmbedEvent: TypeAlias = Waiting | Started | Embeddings | Finished
"""What a client sees of texts that become vectors, in this order; only `Finished` is certain to come, and last."""
