"""OpenAI's routes, with and without their prefix: some clients leave it out."""

from __future__ import annotations

from typing import Final

from hub.gateway.app import Way
from hub.gateway.openai import chat, embeddings, models, responses
from hub.gateway.openai.bodies import ChatBody, CompletionBody
from hub.gateway.openai.embeddings import EmbeddingsBody
from hub.gateway.openai.errors import OpenAi
from hub.gateway.openai.responses_bodies import ResponsesBody

_DIALECT: Final = OpenAi()

ROUTES: Final = tuple(
    Way((method,), f"{prefix}{path}", _DIALECT, handler, body)
    for prefix in ("/v1", "")
    for method, path, handler, body in (
        ("POST", "/chat/completions", chat.chat, ChatBody),
        ("POST", "/completions", chat.completion, CompletionBody),
        ("POST", "/embeddings", embeddings.embeddings, EmbeddingsBody),
        ("POST", "/responses", responses.responses, ResponsesBody),
        ("GET", "/models", models.models, None),
        ("GET", "/models/{model:path}", models.model, None),
    )
)
