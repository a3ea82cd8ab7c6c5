"""What Ollama has in memory, and what of it the mesh has brought there."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from hubspoke.errors import EngineTimeout, LoadFailed, MeshError, UnknownModel

if TYPE_CHECKING:
    from hubspoke.types import Loaded
    from spoke.engines.ollama.http import OllamaClient

UNLOAD_TIMEOUT_S: Final = 20.0
CLOSE_TIMEOUT_S: Final = 5.0
LOOK_AGAIN_S: Final = 0.05
"""How often to see whether a model has left the memory: Ollama does not tell."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Brought:
    """How the mesh has loaded a model."""

    context_tokens: int
    may_shift: bool


class Memory:
    """The loaded models as of the last look, each with so many *slots*."""

    def __init__(self, client: OllamaClient, slots: int) -> None:
        self._client = client
        self._slots = slots
        self._loaded: dict[str, Loaded] = {}
        self._ours: dict[str, _Brought] = {}
        self._turn = asyncio.Lock()

    def loaded(self, model: str) -> Loaded | None:
        """Give what *model* takes up, if it is there."""
        return self._loaded.get(model)

    def may_shift(self, model: str) -> bool:
        """Whether *model* may drop the beginning when its context is full: as Ollama loads it, unless `bring` did.

        A request has to say the same, or Ollama loads the model anew.
        """
        brought = self._ours.get(model)
        return brought is None or brought.may_shift

    def forget(self) -> None:
        """Know of nothing there until the next look, which also tells what of it is still ours."""
        self._loaded = {}

    async def look(self) -> None:
        """Ask what is there."""
        # In turn: what was seen before a load must not overwrite what was seen after it.
        async with self._turn:
            expected = {model: brought.context_tokens for model, brought in self._ours.items()}
            self._loaded = await self._client.loaded(self._slots, expected)
            # What others have unloaded, or loaded anew with another context, is ours no more.
            self._ours = {
                model: brought
                for model, brought in self._ours.items()
                if model in self._loaded and self._loaded[model].context_tokens == brought.context_tokens
            }

    async def bring(self, model: str, context_tokens: int, *, embeds: bool) -> Loaded:
        """Load *model*, which *embeds* or does not, until `let_go`; raise LoadFailed and what else Ollama says."""
        brought = _Brought(context_tokens, may_shift=embeds)
        try:
            await self._client.load(model, context_tokens, embeds=embeds)
            self._ours[model] = brought
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
        self._ours[model] = replace(brought, context_tokens=loaded.context_tokens)
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
