"""`/v1/messages/count_tokens`: the hub has no tokenizer, so the engine is asked, or the bytes are."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from hub.core.estimator import BYTES_PER_TOKEN
from hub.core.needs import ask_of
from hub.gateway.anthropic.bodies import MessagesBody
from hub.gateway.anthropic.messages import as_able
from hub.gateway.anthropic.requests import request
from hub.gateway.parsing import parse
from hubspoke.types import ModelState, ToolChoice

if TYPE_CHECKING:
    from hub.gateway.access import Principal
    from hub.gateway.exchange import Exchange
    from hub.gateway.front import Front
    from hubspoke.types import ModelSummary, Request

ESTIMATED_HEADER: Final = "x-hubspoke-estimated"
IMAGE_TOKENS: Final = 1_024
"""What a picture is reckoned to come to; between 256 and 4,000, by model and size."""


async def count_tokens(front: Front, exchange: Exchange, principal: Principal) -> None:
    """Say how many tokens a prompt comes to.

    A model with a free slot is asked for one token, and its engine has then counted the prompt, and has it in its cache.
    Otherwise nothing is loaded or kept waiting for a mere number: the bytes are counted, and a header says so.
    """
    wanted = request(parse(await exchange.body(), MessagesBody), max_tokens=1)
    asked = as_able(front, exchange, principal, wanted)
    known = front.names.candidates(asked.model, principal.key)
    counted = 0
    if not known or any(_has_free_slot(model) for model in known):
        # One token is neither a call nor valid JSON: what the answer has to be is left out.
        plain = replace(asked, tool_choice=ToolChoice(), format=None)
        answer = await front.whole(exchange, principal, plain)
        counted = answer.finished.usage.prompt_tokens
    if not counted:
        exchange.common[ESTIMATED_HEADER] = "true"
        counted = estimated_tokens(asked)
    await exchange.respond(200, msgspec.json.encode({"input_tokens": counted}))


def estimated_tokens(asked: Request) -> int:
    """Reckon what a prompt comes to by its bytes, tools included, and by its pictures."""
    prompt_bytes = ask_of(asked, now=0.0, timeout_s=None).prompt_bytes
    images = sum(len(turn.images) for turn in asked.messages)
    return max(1, math.ceil(prompt_bytes / BYTES_PER_TOKEN)) + images * IMAGE_TOKENS


def _has_free_slot(model: ModelSummary) -> bool:
    return any(
        replica.state is ModelState.LOADED and replica.busy < replica.slots for replica in model.replicas
    )
