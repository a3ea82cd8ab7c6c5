"""Long texts in pieces that a small model can read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from hub.core.estimator import BYTES_PER_TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_TOKENS: Final = 2_000
"""Of text in one piece: small models lose the thread in long ones."""

CHUNK_TOKENS_MIN: Final = 200
"""Below this the instruction, which every piece repeats, costs as much as the text."""

CHUNKS_MAX: Final = 256
"""As many as a plan may have subtasks."""

ROOM_TOKENS: Final = 700
"""What an instruction and an answer take of the context beside the text."""

_BREAKS: Final = (b"\n\n", b"\n", b". ", b" ")
"""Where a text is cut if there is a choice, best first."""

_SEARCHED_SHARE: Final = 0.5
"""A piece is cut in its second half: a good place is not worth a tiny piece."""


def chunk_bytes(text_bytes: int, context_tokens: int, lanes: int) -> int:
    """Give the size of the pieces for *text_bytes*, for models with *context_tokens* on *lanes* slots side by side.

    Every slot gets work, and as few pieces as that allows; no piece is longer than a model can read.
    """
    most = max(min(CHUNK_TOKENS, context_tokens - ROOM_TOKENS), CHUNK_TOKENS_MIN) * BYTES_PER_TOKEN
    pieces = max(math.ceil(text_bytes / most), 1)
    waves = math.ceil(pieces / max(lanes, 1))
    even = math.ceil(text_bytes / (waves * max(lanes, 1)))
    return min(max(even, CHUNK_TOKENS_MIN * BYTES_PER_TOKEN), most)


def chunks(text: str, size_bytes: int) -> tuple[str, ...]:
    """Cut *text* into pieces of at most *size_bytes* each, at least 4, that joined are *text* again.

    They end with a paragraph where there is one, or else a line, a sentence, a word, a character.
    """
    return tuple(piece.decode() for piece in _pieces(text.encode(), size_bytes))


def _pieces(data: bytes, size_bytes: int) -> Iterator[bytes]:
    begin = 0
    while len(data) - begin > size_bytes:
        end = _end(data, begin, begin + size_bytes)
        yield data[begin:end]
        begin = end
    if begin < len(data):
        yield data[begin:]


def _end(data: bytes, begin: int, limit: int) -> int:
    """Say where the piece that starts at *begin* ends, at *limit* or before."""
    soonest = begin + int((limit - begin) * _SEARCHED_SHARE)
    for mark in _BREAKS:
        place = data.rfind(mark, soonest, limit)
        if place >= 0:
            return place + len(mark)
    while data[limit] & 0xC0 == 0x80:  # within a character
        limit -= 1
    return limit
