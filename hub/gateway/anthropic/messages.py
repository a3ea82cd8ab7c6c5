"""`/v1/messages`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from hub.core.needs import needs
from hub.gateway.anthropic.answers import MessageVoice, message
from hub.gateway.anthropic.bodies import MessagesBody
from hub.gateway.anthropic.requests import message_request
from hub.gateway.app import REQUEST_ID_HEADERS
from hub.gateway.parsing import parse
from hubspoke.types import Capability

if TYPE_CHECKING:
    from hub.gateway.access import Principal
    from hub.gateway.exchange import Exchange
    from hub.gateway.front import Front
    from hubspoke.types import Request


async def messages(front: Front, exchange: Exchange, principal: Principal) -> None:
    """Answer a conversation."""
    body = parse(await exchange.body(), MessagesBody)
    request = as_able(front, exchange, principal, message_request(body))
    if body.stream:
        voice = MessageVoice(exchange.common[REQUEST_ID_HEADERS[0]])
        await front.stream(exchange, principal, request, voice)
        return
    answer = await front.whole(exchange, principal, request)
    await exchange.respond(200, msgspec.json.encode(message(answer)))


def as_able(front: Front, exchange: Exchange, principal: Principal, request: Request) -> Request:
    """Let a model that cannot think answer without, and say so in a header.

    A budget allows a model to think, and Claude Code gives every model one.
    """
    wanted = needs(request)
    able = front.names.candidates(request.model, principal.key)
    if Capability.THINKING not in wanted or any(wanted <= model.capabilities for model in able):
        return request
    exchange.degrade(Capability.THINKING)
    return replace(request, thinking=None)
