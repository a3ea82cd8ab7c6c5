"""Anthropic's routes. It shares the paths of models with OpenAI: only its own clients say which version they speak."""

from __future__ import annotations

from typing import Final

from hub.gateway.anthropic import counting, messages, models
from hub.gateway.anthropic.bodies import MessagesBody
from hub.gateway.anthropic.errors import Anthropic
from hub.gateway.app import Way

VERSION_HEADER: Final = "anthropic-version"

_DIALECT: Final = Anthropic()

ROUTES: Final = (
    Way(("POST",), "/v1/messages", _DIALECT, messages.messages, MessagesBody),
    Way(("POST",), "/v1/messages/count_tokens", _DIALECT, counting.count_tokens, MessagesBody),
    Way(("GET",), "/v1/models", _DIALECT, models.models, header=VERSION_HEADER),
    Way(("GET",), "/v1/models/{model:path}", _DIALECT, models.model, header=VERSION_HEADER),
)
