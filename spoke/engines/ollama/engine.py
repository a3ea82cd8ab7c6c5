"""The Ollama on this machine: its models, its memory, its answers.

Ollama belongs to the machine's owner, who may use it beside the mesh. What the mesh loads stays in memory until the mesh
unloads it; what others have loaded is used as it is, and goes when they want it to.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from hubspoke.errors import (
    Busy,
    EngineProtocol,
    EngineTimeout,
    EngineUnavailable,
    MeshError,
    ModelNotLoaded,
    UnknownModel,
)
from hubspoke.types import Capability, EngineInfo, LoadPlan, Model, ModelState
from spoke.engines.admission import Admission
from spoke.engines.connection import told_to_log
from spoke.engines.loads import Loads, refuse_longer, rounded
from spoke.engines.ollama import models as ollama_models
from spoke.engines.ollama.body import refuse_unkept
from spoke.engines.ollama.detected import NAME
from spoke.engines.ollama.memory import Memory

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from hubspoke.types import Delta, Embeddings, EmbedRequest, Finished, Gpu, Loaded, PullStep, Request
    from spoke.engines.ollama.http import OllamaClient
    from spoke.engines.ollama.models import Facts, Listed

log = logging.getLogger(__name__)


class OllamaEngine:
    """One Ollama, each of its models with the slots of *plan* and as much of its context as the model has.

    *gpus* gives the cards that it is taken to compute on: all that work. Ollama does not tell which it uses, and what its
    own environment (CUDA_VISIBLE_DEVICES and the like) hides from it cannot be known from here.
    """

    def __init__(
        self,
        client: OllamaClient,
        *,
        plan: LoadPlan,
        gpus: Callable[[], Awaitable[tuple[Gpu, ...]]],
    ) -> None:
        self._client = client
        self._plan = plan
        self._gpus = gpus
        self._facts: dict[str, Facts] = {}
        self._version = ""
        self._memory = Memory(client, plan.slots)
        self._loads = Loads()
        self._leaving: set[str] = set()
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._admission = Admission()

    @property
    def name(self) -> str:
        """The engine's name on this spoke."""
        return NAME

    async def probe(self) -> EngineInfo:
        """Say whether it answers; an absence is a fault."""
        try:
            version = await self._client.version()
        except MeshError as error:
            return EngineInfo(NAME, fault=error.message, pulls=True)
        if version != self._version:  # another Ollama may make more of the same models
            self._facts.clear()
            self._version = version
        cards = await self._gpus()
        healthy = tuple(card.index for card in cards if not card.fault)
        return EngineInfo(NAME, version=version, gpus=healthy, pulls=True)

    async def models(self) -> tuple[Model, ...]:
        """List the models on its disk, each with its state; empty while it is down."""
        try:
            return await self._look()
        except (EngineUnavailable, EngineTimeout):
            self._memory.forget()
            return ()

    async def load(self, model: str, context_tokens: int) -> Loaded:
        """Bring *model* into memory with that context, rounded up as Ollama's runner does, until `unload`.

        Raise UnknownModel, ContextTooLong, Busy while it runs with another context, LoadFailed, EngineOutOfMemory,
        EngineCrashed, EngineTimeout or EngineUnavailable.
        """
        found = next((known for known in await self._look() if known.name == model), None)
        if found is None:
            raise UnknownModel(f"Ollama has no model {model!r} on this spoke; pull it first")
        limit = found.context_tokens_max
        refuse_longer(model, limit, context_tokens)
        plan = LoadPlan(self._plan.slots, rounded(context_tokens, limit))
        embeds = Capability.EMBED in found.capabilities
        return await self._loads.join(
            model,
            plan,
            there=partial(self._loaded, model, plan),
            bring=partial(self._bring, model, plan, embeds=embeds),
        )

    async def unload(self, model: str) -> None:
        """Take *model* out of memory, whoever has loaded it; raise Busy while it runs for the mesh or is being loaded."""
        if model in self._loads:
            raise Busy(f"{model!r} is being loaded; unload it when that is done")
        async with self._turns[model]:
            await self._dismiss(model)

    async def delete(self, model: str) -> None:
        """Delete *model* from Ollama's disk, after it has left memory: Ollama would keep it there otherwise."""
        if model in self._loads:
            raise Busy(f"{model!r} is being loaded; delete it when that is done")
        async with self._turns[model]:
            await self._dismiss(model)
            await self._client.delete(model)

    async def generate(self, model: str, request: Request) -> AsyncGenerator[Delta | Finished, None]:
        """Answer *request*; raise ModelNotLoaded when *model* was not in memory at the last look, EngineOverloaded.

        Ollama's API knows no choice of tools. A model that may not call any is not told of them either; Unsupported is
        raised, and nothing asked, when it has to call some, or must not call several at once. It is also raised for a
        level of effort when Ollama, or the model, only knows whether to think.
        """
        refuse_unkept(request)
        loaded = self._in_memory(model)
        events = self._client.generate(
            model, request, loaded.context_tokens, may_shift=self._memory.may_shift(model)
        )
        with told_to_log(), self._admission.slot(model, loaded.slots):
            async with aclosing(events):
                async for event in events:
                    yield event

    async def embed(self, model: str, request: EmbedRequest) -> AsyncGenerator[Embeddings | Finished, None]:
        """Turn texts into vectors; raise as `generate` does, and ContextTooLong for a text that does not fit."""
        loaded = self._in_memory(model)
        events = self._client.embed(model, request, loaded.context_tokens)
        with told_to_log(), self._admission.slot(model, loaded.slots):
            async with aclosing(events):
                async for event in events:
                    yield event

    async def pull(self, model: str) -> AsyncGenerator[PullStep, None]:
        """Get *model* from Ollama's library, or from another one that its name gives; see `OllamaClient.pull`.

        The steps are Ollama's: most are of one layer, which is named by its digest, and count that layer's bytes alone.
        """
        with told_to_log():
            async with aclosing(self._client.pull(model)) as steps:
                async for step in steps:
                    yield step

    async def aclose(self) -> None:
        """Take out of memory what the mesh has brought there, and close every connection."""
        await self._loads.cancel()
        await self._memory.let_go_of_ours()
        await self._client.aclose()

    async def _look(self) -> tuple[Model, ...]:
        listed = await self._client.listed()
        await self._memory.look()
        described = [await self._describe(model) for model in listed]
        return tuple(model for model in described if model is not None)

    def _loaded(self, model: str, plan: LoadPlan) -> Loaded | None:
        """Say what *model* takes up, if it is in memory with the context of *plan*, and not just coming or going."""
        loaded = None if model in self._loads or model in self._leaving else self._memory.loaded(model)
        return None if loaded is None or loaded.context_tokens != plan.context_tokens else loaded

    def _in_memory(self, model: str) -> Loaded:
        """Say how *model* is loaded; raise ModelNotLoaded when it was not at the last look, or just comes or goes."""
        loaded = self._memory.loaded(model)
        # Ollama would bring one that goes back at once, in its own way and unknown to us.
        if loaded is None or model in self._loads or model in self._leaving:
            raise ModelNotLoaded(f"{model!r} is not in memory")
        return loaded

    async def _bring(self, model: str, plan: LoadPlan, *, embeds: bool) -> Loaded:
        async with self._turns[model]:
            self._refuse_while_running(model)
            return await self._memory.bring(model, plan.context_tokens, embeds=embeds)

    async def _dismiss(self, model: str) -> None:
        self._refuse_while_running(model)
        self._leaving.add(model)
        try:
            await self._memory.look()
            if self._memory.loaded(model) is not None:
                await self._memory.let_go(model)
        finally:
            self._leaving.discard(model)

    def _refuse_while_running(self, model: str) -> None:
        running = self._admission.running(model)
        if running:
            raise Busy(f"{running} requests run on {model!r}; try again when they are done")

    async def _describe(self, listed: Listed) -> Model | None:
        """Put together what is known of a model; None when it went away, is broken, or can do nothing that we know."""
        try:
            facts = await self._known(listed)
        except UnknownModel:
            return None
        except EngineProtocol as error:  # which costs this model, and not all of them
            log.warning("model not usable", extra={"model": listed.short, "fault": error.message})
            return None
        if not facts.capabilities:
            return None
        described = Model(
            engine=NAME,
            name=listed.short,
            digest=listed.digest,
            size_bytes=listed.size_bytes,
            family=listed.family,
            quantisation=listed.quantisation,
            parameters=facts.parameters,
            context_tokens_max=facts.context_tokens_max,
            kv_bytes_per_token=facts.kv_bytes_per_token,
            capabilities=facts.capabilities,
            plan=ollama_models.plan(self._plan, facts),
        )
        if listed.short in self._loads:
            return replace(described, state=ModelState.LOADING)
        loaded = self._memory.loaded(listed.short)
        return described if loaded is None else replace(described, state=ModelState.LOADED, loaded=loaded)

    async def _known(self, listed: Listed) -> Facts:
        """Ask once for each digest; a model without one is asked for every time."""
        facts = self._facts.get(listed.digest)
        if facts is None:
            facts = await self._client.facts(listed.short)
            if listed.digest:
                self._facts[listed.digest] = facts
        return facts
