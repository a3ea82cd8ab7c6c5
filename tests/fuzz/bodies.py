"""Whatever a body holds, a dialect makes a request of it that the mesh takes, or says with a MeshError why not."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from hub.core.needs import ask_of
from hub.gateway import asking
from hub.gateway.anthropic.bodies import MessagesBody
from hub.gateway.anthropic.counting import estimated_tokens
from hub.gateway.anthropic.requests import message_request, request
from hub.gateway.ollama import bodies as ollama
from hub.gateway.ollama import embeddings as ollama_embeddings
from hub.gateway.ollama.upkeep import PullBody
from hub.gateway.openai import bodies as openai
from hub.gateway.openai import embeddings as openai_embeddings
from hub.gateway.openai.responses_answers import ResponseLabel, ResponseVoice
from hub.gateway.openai.responses_bodies import ResponsesBody, response_request
from hub.gateway.parsing import parse
from hubspoke.errors import MeshError
from hubspoke.types import EmbedRequest, ModelKey, Request, SpokeId, Started
from tests.fuzz.alike import body_like
from tests.fuzz.draw import Draw, written

NOW: Final = datetime(2026, 1, 2, tzinfo=UTC)
STARTED: Final = Started(SpokeId("s"), "m", ModelKey("k"), 0.0, 1)


@dataclass(frozen=True, slots=True)
class Door:
    """A kind of body, and what is made of it before anybody is asked."""

    kind: type[msgspec.Struct]
    enter: Callable[[bytes], Request | EmbedRequest | None]


def bodies(data: bytes) -> None:
    """Bring one body to one door: bytes as they are, or what resembles a body of that kind."""
    draw = Draw(data)
    door = DOORS[draw.byte() % len(DOORS)]
    body = draw.rest() if draw.rarely() else written(body_like(draw, door.kind)).encode()
    with suppress(MeshError):
        made = door.enter(body)
        if made is not None:
            ask_of(asking.checked(made).request, now=0.0, timeout_s=None)


def _respond(body: bytes) -> Request:
    """Make the request, and begin the response, which repeats some of the body."""
    asked = parse(body, ResponsesBody)
    made = response_request(asked)
    ResponseVoice(ResponseLabel(asked, NOW)).started(STARTED)
    return made


def _count(body: bytes) -> Request:
    made = request(parse(body, MessagesBody), max_tokens=1)
    assert estimated_tokens(made) > 0
    return made


def _embed(body: bytes) -> EmbedRequest | None:
    asked = parse(body, ollama_embeddings.EmbedBody)
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    return ollama_embeddings._request(asked.model, texts, asked.dimensions or 0) if texts else None


def _generate(body: bytes) -> Request:
    asked = parse(body, ollama.GenerateBody)
    ollama.wants_out_of_memory(asked.keep_alive)
    return ollama.generate_request(asked)


def _pull(body: bytes) -> None:
    asked = parse(body, PullBody)
    ollama.model_name(asked.model, asked.name)


DOORS: Final[Sequence[Door]] = (
    Door(openai.ChatBody, lambda body: openai.chat_request(parse(body, openai.ChatBody))),
    Door(openai.CompletionBody, lambda body: openai.completion_request(parse(body, openai.CompletionBody))),
    Door(ResponsesBody, _respond),
    Door(
        openai_embeddings.EmbeddingsBody,
        lambda body: openai_embeddings._request(parse(body, openai_embeddings.EmbeddingsBody)),
    ),
    Door(MessagesBody, lambda body: message_request(parse(body, MessagesBody))),
    Door(MessagesBody, _count),
    Door(ollama.ChatBody, lambda body: ollama.chat_request(parse(body, ollama.ChatBody))),
    Door(ollama.GenerateBody, _generate),
    Door(ollama_embeddings.EmbedBody, _embed),
    Door(PullBody, _pull),
)
