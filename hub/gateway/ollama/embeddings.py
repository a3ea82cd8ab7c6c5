"""`/api/embed`, and `/api/embeddings`, its forerunner.

A text that is too long is refused, whatever `truncate` says: a vector of half a text would be found for the wrong
questions. All vectors have length 1, also those of `/api/embeddings`. The options are hints here: no token is drawn.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from hub.gateway.asking import served
from hub.gateway.ollama.bodies import model_name
from hub.gateway.ollama.lines import nanoseconds
from hub.gateway.ollama.telling import Telling
from hub.gateway.parsing import parse
from hubspoke.errors import InvalidRequest
from hubspoke.types import EmbedRequest
from hubspoke.wire.allowed import DIMENSIONS_MAX, INPUTS_MAX

if TYPE_CHECKING:
    from hub.gateway.access import Principal
    from hub.gateway.exchange import Exchange
    from hub.gateway.front import Front


class EmbedBody(msgspec.Struct):
    """The body of `/api/embed`."""

    model: str
    input: str | list[str] | None = None
    dimensions: int | None = None


class EmbeddingsBody(msgspec.Struct):
    """The body of `/api/embeddings`."""

    model: str
    prompt: str | None = None


async def embed(front: Front, exchange: Exchange, principal: Principal) -> None:
    """Turn texts into vectors; without any, bring the model into memory."""
    began_s = front.monotonic()
    body = parse(await exchange.body(), EmbedBody)
    texts = [body.input] if isinstance(body.input, str) and body.input else body.input or []
    if not texts:
        await _load(front, exchange, principal, body.model)
        await exchange.respond(200, msgspec.json.encode({"model": body.model, "embeddings": []}))
        return
    made = await front.vectors(exchange, principal, _request(body.model, texts, body.dimensions or 0))
    content = {
        "model": body.model,
        "embeddings": made.vectors,
        "total_duration": nanoseconds(front.monotonic() - began_s),
        "load_duration": nanoseconds(made.started.queue_s),
        "prompt_eval_count": made.finished.usage.prompt_tokens,
        "hubspoke": served(made.started),
    }
    await exchange.respond(200, msgspec.json.encode(content))


async def embeddings(front: Front, exchange: Exchange, principal: Principal) -> None:
    """Turn one text into a vector; without one, bring the model into memory."""
    body = parse(await exchange.body(), EmbeddingsBody)
    if not body.prompt:
        await _load(front, exchange, principal, body.model)
        await exchange.respond(200, msgspec.json.encode({"embedding": []}))
        return
    made = await front.vectors(exchange, principal, _request(body.model, [body.prompt], 0))
    content = {"embedding": made.vectors[0], "hubspoke": served(made.started)}
    await exchange.respond(200, msgspec.json.encode(content))


def _request(model: str, texts: list[str], dimensions: int) -> EmbedRequest:
    if len(texts) > INPUTS_MAX:
        raise InvalidRequest(f"input has {len(texts)} texts; give at most {INPUTS_MAX}")
    if not all(texts):
        raise InvalidRequest("input holds an empty text, which has no direction; leave it out")
    if not 0 <= dimensions <= DIMENSIONS_MAX:
        raise InvalidRequest(f"dimensions is {dimensions}; give 1 to {DIMENSIONS_MAX}")
    return EmbedRequest(model_name(model), tuple(texts), dimensions)


async def _load(front: Front, exchange: Exchange, principal: Principal, model: str) -> None:
    async def load() -> None:
        async with aclosing(front.load(exchange, principal, model_name(model))) as events:
            async for _ in events:
                pass

    await Telling(exchange).follow(load())
