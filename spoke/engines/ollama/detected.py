"""The Ollama that may be on this machine: an engine from when it first answers, and nothing before."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from hubspoke.errors import EngineTimeout, EngineUnavailable, MeshError, ModelNotLoaded, UnknownModel
from hubspoke.types import EngineInfo

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from hubspoke.types import Delta, Embeddings, EmbedRequest, Finished, Loaded, Model, PullStep, Request
    from spoke.engines.base import Engine
    from spoke.engines.ollama.server import OllamaServer

NAME: Final = "ollama"

log = logging.getLogger(__name__)


class DetectedOllama:
    """Looks at *server* until an Ollama answers there; from then on it is the engine that *build* gives.

    Nobody has said that there is one, so its absence is no fault. Once it was there, it is missed.
    """

    def __init__(self, server: OllamaServer, build: Callable[[OllamaServer], Engine]) -> None:
        self._server = server
        self._build = build
        self._engine: Engine | None = None

    @property
    def name(self) -> str:
        """The engine's name on this spoke."""
        return NAME

    async def probe(self) -> EngineInfo | None:
        """Say whether it works; None while there has been none, a fault when something else listens there."""
        if self._engine is None:
            try:
                version = await self._server.version()
            except (EngineUnavailable, EngineTimeout):
                return None
            except MeshError as error:
                return EngineInfo(NAME, fault=error.message)
            log.info("ollama found", extra={"version": version})
            # In a thread, as building it imports the package, and heartbeats must not wait for that.
            self._engine = await asyncio.to_thread(self._build, self._server)
        return await self._engine.probe()

    async def models(self) -> tuple[Model, ...]:
        """List what it has; nothing while there has been none."""
        return () if self._engine is None else await self._engine.models()

    async def load(self, model: str, context_tokens: int) -> Loaded:
        """Bring *model* into memory; raise UnknownModel while there has been no Ollama."""
        if self._engine is None:
            raise UnknownModel("this spoke has found no Ollama yet")
        return await self._engine.load(model, context_tokens)

    async def unload(self, model: str) -> None:
        """Take *model* out of memory."""
        if self._engine is not None:
            await self._engine.unload(model)

    def generate(self, model: str, request: Request) -> AsyncGenerator[Delta | Finished, None]:
        """Answer *request*; raise ModelNotLoaded while there has been no Ollama."""
        if self._engine is None:
            raise ModelNotLoaded("this spoke has found no Ollama yet")
        return self._engine.generate(model, request)

    def embed(self, model: str, request: EmbedRequest) -> AsyncGenerator[Embeddings | Finished, None]:
        """Turn texts into vectors; raise ModelNotLoaded while there has been no Ollama."""
        if self._engine is None:
            raise ModelNotLoaded("this spoke has found no Ollama yet")
        return self._engine.embed(model, request)

    def pull(self, model: str) -> AsyncGenerator[PullStep, None]:
        """Get a model from Ollama's library; raise EngineUnavailable while there has been no Ollama."""
        if self._engine is None:
            raise EngineUnavailable("this spoke has found no Ollama yet")
        return self._engine.pull(model)

    async def delete(self, model: str) -> None:
        """Delete a model; raise UnknownModel while there has been no Ollama."""
        if self._engine is None:
            raise UnknownModel("this spoke has found no Ollama yet")
        await self._engine.delete(model)

    async def aclose(self) -> None:
        """Take out of memory what the mesh has brought there, and close every connection."""
        await (self._server if self._engine is None else self._engine).aclose()
