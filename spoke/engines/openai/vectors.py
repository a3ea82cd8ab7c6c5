"""Texts that become vectors, as servers of the OpenAI HTTP API want and give them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from hubspoke.errors import EngineProtocol
from spoke.engines.json_text import NOT_JSON
from spoke.engines.openai.errors import refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spoke.engines.json_text import Json

PATH: Final = "/v1/embeddings"
OK: Final = 200


@dataclass(frozen=True, slots=True)
class Made:
    """What came of some texts: their vectors in order, as the engine made them, and the tokens that the texts had."""

    vectors: tuple[tuple[float, ...], ...]
    prompt_tokens: int


class _Item(msgspec.Struct):
    embedding: list[float]
    index: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)] = 0


class _Listing(msgspec.Struct):
    data: list[_Item] | None = None
    usage: _Usage | None = None
    error: object = None


def body(model: str, texts: Sequence[str]) -> dict[str, Json]:
    """Ask for the vectors of *texts*, as numbers; some servers' own choice is base64."""
    return {"model": model, "input": list(texts), "encoding_format": "float"}


def made(answer: bytes) -> Made:
    """Read an answer; raise EngineProtocol when it makes no sense, or does not say whose vector is whose."""
    try:
        listing = msgspec.json.decode(answer, type=_Listing)
    except NOT_JSON as error:
        raise EngineProtocol("the engine's vectors make no sense") from error
    if listing.error is not None:
        raise refused(OK, answer)
    items = listing.data or []
    # Who numbers none of them means the order in which they stand.
    placed = {
        place if item.index is None else item.index: tuple(item.embedding) for place, item in enumerate(items)
    }
    if sorted(placed) != list(range(len(items))):
        raise EngineProtocol("the engine's vectors do not say which texts they are of")
    vectors = tuple(placed[place] for place in range(len(items)))
    return Made(vectors, listing.usage.prompt_tokens if listing.usage is not None else 0)
