"""`/v1/responses`, without a store: every request brings its whole conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hub.gateway.openai.responses_answers import ResponseLabel, ResponseVoice
from hub.gateway.openai.responses_bodies import ResponsesBody, response_request
from hub.gateway.parsing import parse

if TYPE_CHECKING:
    from hub.gateway.access import Principal
    from hub.gateway.exchange import Exchange
    from hub.gateway.front import Front


async def responses(front: Front, exchange: Exchange, principal: Principal) -> None:
    """Answer a conversation."""
    body = parse(await exchange.body(), ResponsesBody)
    request = response_request(body)
    label = ResponseLabel(body, front.now())
    if body.stream:
        await front.stream(exchange, principal, request, ResponseVoice(label))
        return
    answer = await front.whole(exchange, principal, request)
    await exchange.respond(200, msgspec.json.encode(label.whole(answer)))
