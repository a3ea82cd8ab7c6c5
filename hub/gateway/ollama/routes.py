"""Ollama's routes."""

from __future__ import annotations

from typing import Final

from hub.gateway.app import Way
from hub.gateway.ollama import asked, bodies, embeddings, models, upkeep
from hub.gateway.ollama.errors import Ollama

_DIALECT: Final = Ollama()
_GET: Final = ("GET", "HEAD")

ROUTES: Final = (
    Way(_GET, "/", _DIALECT, models.root, is_open=True),
    Way(_GET, "/api/version", _DIALECT, models.version, is_open=True),
    Way(_GET, "/api/tags", _DIALECT, models.tags),
    Way(_GET, "/api/ps", _DIALECT, models.running),
    Way(("POST",), "/api/show", _DIALECT, models.show, models.ShowBody),
    Way(("POST",), "/api/chat", _DIALECT, asked.chat, bodies.ChatBody),
    Way(("POST",), "/api/generate", _DIALECT, asked.generate, bodies.GenerateBody),
    Way(("POST",), "/api/embed", _DIALECT, embeddings.embed, embeddings.EmbedBody),
    Way(("POST",), "/api/embeddings", _DIALECT, embeddings.embeddings, embeddings.EmbeddingsBody),
    Way(("POST",), "/api/pull", _DIALECT, upkeep.pull, upkeep.PullBody),
    Way(("DELETE",), "/api/delete", _DIALECT, upkeep.delete, upkeep.DeleteBody),
    Way(("POST",), "/api/create", _DIALECT, upkeep.create),
    Way(("POST",), "/api/copy", _DIALECT, upkeep.copy),
    Way(("POST",), "/api/push", _DIALECT, upkeep.push),
    Way(("POST", "HEAD"), "/api/blobs/{digest}", _DIALECT, upkeep.blobs),
)
