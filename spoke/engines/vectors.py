"""What is done to vectors, whichever engine made them. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from hubspoke.errors import EngineProtocol, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hubspoke.types import Vector

BATCH_TEXTS: Final = 32
"""Texts that an engine is given at once: enough to keep a card busy."""
BATCH_BYTES: Final = 8 * 1024
"""All of them together, unless one alone is longer. llama.cpp finishes what it was given, whoever has hung up."""


def batches(texts: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """Cut *texts* into what an engine is given at once, each with the number of its first text."""
    first = size = 0
    for number, text in enumerate(texts):
        size += len(text.encode())
        if number > first and (number - first == BATCH_TEXTS or size > BATCH_BYTES):
            yield first, texts[first:number]
            first, size = number, len(text.encode())
    if texts:
        yield first, texts[first:]


def directions(made: Sequence[Sequence[float]], *, texts: int, dimensions: int) -> tuple[Vector, ...]:
    """Bring vectors that an engine made of so many *texts* to length 1 and to *dimensions* numbers, 0 for all.

    Raise EngineProtocol for what are no such vectors, InvalidRequest when they have fewer numbers than *dimensions*.
    """
    lengths = {len(vector) for vector in made}
    if len(made) != texts or len(lengths) != 1 or 0 in lengths:
        raise EngineProtocol(f"the engine made {len(made)} vectors of {texts} texts, or of different lengths")
    has = lengths.pop()
    if dimensions > has:
        raise InvalidRequest(f"dimensions is {dimensions}, and the model makes {has}; ask for at most that")
    return tuple(scaled(vector[: dimensions or has]) for vector in made)


def scaled(vector: Sequence[float]) -> Vector:
    """Bring *vector* to length 1; raise EngineProtocol when it has no direction."""
    # The largest first: the sum of the squares of large numbers would be infinite.
    largest = max(map(abs, vector))
    if not all(map(math.isfinite, vector)) or largest == 0:
        raise EngineProtocol("the engine made a vector that has no direction")
    shares = [number / largest for number in vector]
    length = math.hypot(*shares)
    return tuple(share / length for share in shares)
