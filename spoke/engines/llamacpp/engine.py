"""The embedded engine: llama.cpp from the xllamacpp wheels, in one child process for each loaded model."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from hubspoke.errors import (
    Busy,
    EngineCrashed,
    EngineOutOfMemory,
    LoadFailed,
    ModelNotLoaded,
    UnknownModel,
)
from hubspoke.types import Capability, EngineInfo, LoadPlan, Model, ModelState
from spoke.engines.lacking import no_pull
from spoke.engines.llamacpp.build import NAME
from spoke.engines.llamacpp.crashes import CRASHES_MAX, CrashHistory
from spoke.engines.llamacpp.resident import bring
from spoke.engines.loads import Loads, refuse_longer, rounded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from hubspoke.clock import Clock
    from hubspoke.types import Delta, Embeddings, EmbedRequest, Finished, Loaded, PullStep, Request
    from spoke.engines.base import Cards
    from spoke.engines.llamacpp.build import Build
    from spoke.engines.llamacpp.resident import Resident
    from spoke.models.store import ModelStore, StoredModel
    from spoke.platform import Platform

log = logging.getLogger(__name__)


class EmbeddedEngine:
    """Runs the models of *store*, each with the slots of *plan* and as much of its context as the model has."""

    def __init__(
        self,
        store: ModelStore,
        *,
        plan: LoadPlan,
        platform: Platform,
        clock: Clock,
        build: Build,
        cards: Cards,
    ) -> None:
        self._store = store
        self._plan = plan
        self._platform = platform
        self._clock = clock
        self._build = build
        self._cards = cards
        self._residents: dict[str, Resident] = {}
        self._fallen: list[
            Resident
        ] = []  # whose process has ended by itself, and whose client is still to be closed
        self._loads = Loads()
        self._crashes: defaultdict[str, CrashHistory] = defaultdict(CrashHistory)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def name(self) -> str:
        """The engine's name on this spoke."""
        return NAME

    async def probe(self) -> EngineInfo:
        """Say whether llama.cpp runs on this machine at all, found out once in a child of its own."""
        info = await self._build.probe()
        return info if info.fault else replace(info, gpus=await self._cards.indexes())

    async def models(self) -> tuple[Model, ...]:
        """List the models of the store, each with its state."""
        stored = await self._store.models()
        await self._dismiss_outdated(stored)
        return tuple(self._describe(model) for model in stored)

    async def load(self, model: str, context_tokens: int) -> Loaded:
        """Bring *model* into memory with that context, rounded up as llama.cpp does.

        Raise UnknownModel, ContextTooLong, Busy while it runs with another context, LoadFailed when llama.cpp refuses
        the file or has crashed on it too often, EngineCrashed, EngineOutOfMemory or EngineTimeout.
        """
        stored = await self._find(model)
        limit = stored.header.context_tokens_max
        refuse_longer(model, limit, context_tokens)
        plan = LoadPlan(self._plan.slots, rounded(context_tokens, limit))
        return await self._loads.join(
            model,
            plan,
            there=partial(self._loaded, stored, plan),
            bring=partial(self._bring, stored, plan),
        )

    async def unload(self, model: str) -> None:
        """End the process of *model*, if there is one; raise Busy while it runs or is being loaded."""
        if model in self._loads:
            raise Busy(f"{model!r} is being loaded; unload it when that is done")
        async with self._turns[model]:
            await self._dismiss(model)

    async def delete(self, model: str) -> None:
        """Delete the files of *model*, if they lie in the spoke's own folder; see `ModelStore.own_files`."""
        if model in self._loads:
            raise Busy(f"{model!r} is being loaded; delete it when that is done")
        async with self._turns[model]:
            files = await self._store.own_files(model)
            await self._dismiss(model)
            await self._store.remove(files)

    def generate(self, model: str, request: Request) -> AsyncGenerator[Delta | Finished, None]:
        """Answer *request* with a loaded model; raise ModelNotLoaded at once when it is not in memory."""
        return self._resident(model).generate(request)

    def embed(self, model: str, request: EmbedRequest) -> AsyncGenerator[Embeddings | Finished, None]:
        """Make vectors with a loaded model; raise ModelNotLoaded at once when it is not in memory."""
        return self._resident(model).embed(request)

    def pull(self, model: str) -> AsyncGenerator[PullStep, None]:  # noqa: ARG002  # the Protocol's
        """Raise Unsupported."""
        return no_pull(NAME)

    async def aclose(self) -> None:
        """End every child process."""
        await self._loads.cancel()
        residents = (*self._residents.values(), *self._fallen)
        self._residents.clear()
        self._fallen.clear()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._build.aclose())
            for resident in residents:
                group.create_task(resident.aclose())

    def _resident(self, model: str) -> Resident:
        resident = self._residents.get(model)
        if resident is None:
            raise ModelNotLoaded(f"{model!r} is not in memory")
        return resident

    def _loaded(self, stored: StoredModel, plan: LoadPlan) -> Loaded | None:
        """Say what *stored* takes up, if it is in memory with the context of *plan*."""
        resident = self._residents.get(stored.name)
        if resident is None or resident.stored.contents != stored.contents:
            return None
        return resident.loaded if resident.plan.context_tokens == plan.context_tokens else None

    async def _bring(self, stored: StoredModel, plan: LoadPlan) -> Loaded:
        async with self._turns[stored.name]:
            await self._dismiss(stored.name)
            while self._fallen:
                await self._fallen.pop().aclose()
            await self._rest(stored.name)
            try:
                resident = await bring(stored, plan, self._platform, self._cards)
            except (EngineCrashed, EngineOutOfMemory):
                self._count_crash(stored.name)
                raise
            self._residents[stored.name] = resident
            resident.child.on_exit(lambda status: self._fell(stored.name, resident, status))
            return resident.loaded

    async def _rest(self, model: str) -> None:
        """Wait until *model* may be started after a crash, or raise LoadFailed when that takes too long."""
        now_s = self._clock.monotonic()
        resting_s = self._crashes[model].resting_s(now_s)
        if resting_s > 0:
            raise LoadFailed(
                f"{model!r} crashed {CRASHES_MAX} times in a row; it is tried again in {resting_s:.0f} s",
                retry_after_s=resting_s,
            )
        await asyncio.sleep(self._crashes[model].backoff_s(now_s))

    async def _dismiss(self, model: str) -> None:
        """End the process of *model*, if there is one; raise Busy while it runs."""
        resident = self._residents.get(model)
        if resident is None:
            return
        if resident.running:
            raise Busy(f"{resident.running} requests run on {model!r}; try again when they are done")
        del self._residents[model]
        await resident.aclose()
        log.info("model unloaded", extra={"model": model})

    async def _dismiss_outdated(self, listed: Iterable[StoredModel]) -> None:
        """End idle processes whose file has gone or changed: nobody can ask for what they hold."""
        contents = {stored.name: stored.contents for stored in listed}
        for name, resident in tuple(self._residents.items()):
            if contents.get(name) != resident.stored.contents:
                with suppress(Busy):  # next time, then
                    await self.unload(name)

    def _fell(self, model: str, resident: Resident, status: int) -> None:
        """Note that a process ended, which is a crash unless it was dismissed before."""
        if self._residents.get(model) is not resident:
            return
        del self._residents[model]
        self._fallen.append(resident)
        self._count_crash(model)
        log.error(
            "engine crashed",
            extra={"model": model, "status": status, "stderr": resident.child.last_words()},
        )

    def _count_crash(self, model: str) -> None:
        self._crashes[model] = self._crashes[model].crashed(self._clock.monotonic())

    async def _find(self, model: str) -> StoredModel:
        for stored in await self._store.models():
            if stored.name == model:
                return stored
        raise UnknownModel(f"the embedded engine has no model {model!r}")

    def _describe(self, stored: StoredModel) -> Model:
        described = Model(
            engine=NAME,
            name=stored.name,
            digest=stored.digest,
            size_bytes=stored.size_bytes,
            family=stored.header.architecture,
            quantisation=stored.header.quantisation,
            parameters=stored.header.parameters,
            context_tokens_max=stored.header.context_tokens_max,
            kv_bytes_per_token=stored.header.kv_bytes_per_token,
            capabilities=_capabilities(stored),
            plan=LoadPlan(self._plan.slots, _planned_context_tokens(stored, self._plan)),
        )
        resident = self._residents.get(stored.name)
        if resident is not None and resident.stored.contents == stored.contents:
            return replace(described, state=ModelState.LOADED, loaded=resident.loaded)
        state = ModelState.LOADING if stored.name in self._loads else ModelState.COLD
        return replace(described, state=state)


def _capabilities(stored: StoredModel) -> frozenset[Capability]:
    header = stored.header
    found = {Capability.EMBED} if header.makes_vectors else set()
    # Who makes vectors and has no chat template was made for nothing else.
    if header.has_chat_template or not header.makes_vectors:
        found |= {Capability.COMPLETION, Capability.SAMPLING, Capability.JSON_SCHEMA}
    if header.has_chat_template:
        in_chats = {
            Capability.CHAT: True,
            Capability.TOOLS: header.calls_tools,
            Capability.TOOL_CHOICE: header.calls_tools,
            Capability.THINKING: header.thinks,
            Capability.VISION: stored.projector is not None,
        }
        found |= {capability for capability, is_there in in_chats.items() if is_there}
    return frozenset(found)


def _planned_context_tokens(stored: StoredModel, plan: LoadPlan) -> int:
    limit = stored.header.context_tokens_max
    return rounded(min(plan.context_tokens, limit or plan.context_tokens), limit)
