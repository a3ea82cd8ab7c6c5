"""Ollama's routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hub.gateway.app import Way
from hub.gateway.ollama import asked, embeddings, models, upkeep
from hub.gateway.ollama.errors import Ollama

if TYPE_CHECKING:
    from hub.gateway.app import Handler

_DIALECT: Final = Ollama()
_POST: Final = ("POST",)
_GET: Final = ("GET", "HEAD")

_OPEN: Final[tuple[tuple[tuple[str, ...], str, Handler], ...]] = (
    (_GET, "/", models.root),
    (_GET, "/api/version", models.version),
)
_KEYED: Final[tuple[tuple[tuple[str, ...], str, Handler], ...]] = (
    (_POST, "/api/chat", asked.chat),
    (_POST, "/api/generate", asked.generate),
    (_POST, "/api/embed", embeddings.embed),
    (_POST, "/api/embeddings", embeddings.embeddings),
    (_GET, "/api/tags", models.tags),
    (_GET, "/api/ps", models.running),
    (_POST, "/api/show", models.show),
    (_POST, "/api/pull", upkeep.pull),
    (("DELETE",), "/api/delete", upkeep.delete),
    (_POST, "/api/create", upkeep.create),
    (_POST, "/api/copy", upkeep.copy),
    (_POST, "/api/push", upkeep.push),
    (("POST", "HEAD"), "/api/blobs/{digest}", upkeep.blobs),
)

ROUTES: Final = (
    *(Way(methods, path, _DIALECT, handler, is_open=True) for methods, path, handler in _OPEN),
    *(Way(methods, path, _DIALECT, handler) for methods, path, handler in _KEYED),
)
