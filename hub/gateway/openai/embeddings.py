"""`/v1/embeddings`."""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING

import msgspec

from hub.gateway.parsing import parse
from hubspoke.errors import InvalidRequest
from hubspoke.types import EmbedRequest
from hubspoke.wire.allowed import DIMENSIONS_MAX, INPUTS_MAX

if TYPE_CHECKING:
    from hub.gateway.access import Principal
    from hub.gateway.exchange import Exchange
    from hub.gateway.front import Front
    from hubspoke.types import Vector


class EmbeddingsBody(msgspec.Struct):
    """Texts that are to become vectors."""

    model: str
    input: str | list[str | int | list[int]]
    encoding_format: str | None = None
    dimensions: int | None = None


async def embeddings(front: Front, exchange: Exchange, principal: Principal) -> None:
    """Turn texts into vectors, as numbers or as the bytes of 32-bit floats in base64."""
    body = parse(await exchange.body(), EmbeddingsBody)
    form = body.encoding_format or "float"
    if form not in {"float", "base64"}:
        raise InvalidRequest(f"encoding_format is {form!r}; give float or base64")
    made = await front.vectors(exchange, principal, _request(body))
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(vector) if form == "base64" else vector}
        for index, vector in enumerate(made.vectors)
    ]
    tokens = made.finished.usage.prompt_tokens
    content = {
        "object": "list",
        "data": data,
        "model": made.started.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    await exchange.respond(200, msgspec.json.encode(content))


def _request(body: EmbeddingsBody) -> EmbedRequest:
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not 1 <= len(texts) <= INPUTS_MAX:
        raise InvalidRequest(f"input has {len(texts)} texts; give 1 to {INPUTS_MAX}")
    inputs = tuple(text for text in texts if isinstance(text, str))
    if len(inputs) != len(texts):
        raise InvalidRequest(
            "input holds tokens, which mean something to another model only; send texts "
            "(langchain: check_embedding_ctx_length=False)"
        )
    if not all(inputs):
        raise InvalidRequest("input holds an empty text; leave it out")
    if not 0 <= (body.dimensions or 0) <= DIMENSIONS_MAX:
        raise InvalidRequest(f"dimensions is {body.dimensions}; give 1 to {DIMENSIONS_MAX}")
    return EmbedRequest(body.model, inputs, body.dimensions or 0)


def _packed(vector: Vector) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
