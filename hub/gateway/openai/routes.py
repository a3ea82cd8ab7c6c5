"""OpenAI's routes, with and without their prefix: some clients leave it out."""

from __future__ import annotations

from typing import Final

from hub.gateway.app import Way
from hub.gateway.openai import chat, embeddings, models, responses
from hub.gateway.openai.errors import OpenAi

_DIALECT: Final = OpenAi()

ROUTES: Final = tuple(
    Way(methods, f"{prefix}{path}", _DIALECT, handler)
    for prefix in ("/v1", "")
    for methods, path, handler in (
        (("POST",), "/chat/completions", chat.chat),
        (("POST",), "/completions", chat.completion),
        (("POST",), "/embeddings", embeddings.embeddings),
        (("POST",), "/responses", responses.responses),
        (("GET",), "/models", models.models),
        (("GET",), "/models/{model:path}", models.model),
    )
)
