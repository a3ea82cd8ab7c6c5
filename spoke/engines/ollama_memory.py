"""What Ollama has in memory, and what of it the mesh has brought there."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from hubspoke.errors import EngineTimeout, LoadFailed, MeshError, UnknownModel

if TYPE_CHECKING:
    from hubspoke.types import Loaded
    from spoke.engines.ollama_http import OllamaClient

UNLOAD_TIMEOUT_S: Final = 20.0
CLOSE_TIMEOUT_S: Final = 5.0
LOOK_AGAIN_S: Final = 0.05
"""How often to see whether a model has left the memory: Ollama does not tell."""

log = logging.getLogger(__name__)


class Memory:
    """The loaded models as of the last look, each with so many *slots*."""

    def __init__(self, client: OllamaClient, slots: int) -> None:
        self._client = client
        self._slots = slots
        self._loaded: dict[str, Loaded] = {}
        self._ours: dict[str, int] = {}  # the context that each model was loaded with
        self._turn = asyncio.Lock()

    def loaded(self, model: str) -> Loaded | None:
        """Give what *model* takes up, if it is there."""
        return self._loaded.get(model)

    def is_ours(self, model: str) -> bool:
        """Whether `bring` has brought *model* there, and nobody has touched it since."""
        return model in self._ours

    def forget(self) -> None:
        """Know of nothing there any more."""
        self._loaded, self._ours = {}, {}

    async def look(self) -> None:
        """Ask what is there."""
        # In turn: what was seen before a load must not overwrite what was seen after it.
        async with self._turn:
            self._loaded = await self._client.loaded(self._slots, self._ours)
            # What others have unloaded, or loaded anew with another context, is ours no more.
            self._ours = {
                model: context_tokens
                for model, context_tokens in self._ours.items()
                if model in self._loaded and self._loaded[model].context_tokens == context_tokens
            }

    async def bring(self, model: str, context_tokens: int) -> Loaded:
        """Load *model* until `let_go`; raise LoadFailed and what else Ollama says."""
        try:
            await self._client.load(model, context_tokens)
            self._ours[model] = context_tokens
            await self.look()
        except asyncio.CancelledError:
            # Ollama finishes a load that nobody waits for, and would keep the model for ever.
            with suppress(MeshError):
                await self.let_go(model)
            raise
        loaded = self._loaded.get(model)
        if loaded is None:
            raise LoadFailed(f"Ollama has loaded {model!r} and dropped it at once; it may need more memory")
        # From here on the context is what the server has made of it.
        self._ours[model] = loaded.context_tokens
        log.info("model loaded", extra={"model": model, "memory_bytes": loaded.memory_bytes})
        return loaded

    async def let_go(self, model: str) -> None:
        """Unload *model* and wait until it is gone; raise EngineTimeout when it stays, as while others use it."""
        with suppress(UnknownModel):  # deleted meanwhile
            await self._client.unload(model)
        self._ours.pop(model, None)
        try:
            async with asyncio.timeout(UNLOAD_TIMEOUT_S):
                await self.look()
                while model in self._loaded:
                    await asyncio.sleep(LOOK_AGAIN_S)
                    await self.look()
        except TimeoutError as error:
            raise EngineTimeout(f"Ollama still has {model!r} in memory; other programs may use it") from error
        log.info("model unloaded", extra={"model": model})

    async def let_go_of_ours(self) -> None:
        """Unload what the mesh has loaded, as far as that works within `CLOSE_TIMEOUT_S`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                for model in tuple(self._ours):
                    with suppress(MeshError):  # it went away first, and its memory with it
                        await self.let_go(model)
