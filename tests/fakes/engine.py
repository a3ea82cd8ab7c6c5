"""An engine that says what the test wants, when the test wants it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from hubspoke.errors import Busy, ModelNotLoaded, UnknownModel
from hubspoke.types import (
    Capability,
    Delta,
    Embeddings,
    EmbedRequest,
    EngineInfo,
    Finished,
    FinishReason,
    Loaded,
    LoadPlan,
    Model,
    ModelState,
    PullStep,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from hubspoke.types import Request

PROMPT_TOKENS = 7


class Gate:
    """A place where the engine waits until the test lets it pass."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._opened = asyncio.Event()

    def open(self) -> None:
        self._opened.set()

    async def pass_through(self) -> None:
        self.reached.set()
        await self._opened.wait()


Step = str | Delta | Gate | Finished | Exception
"""Text is one token; a gate is waited at; an exception is raised."""


def a_model(
    name: str = "tiny",
    *,
    slots: int = 2,
    loaded: bool = True,
    digest: str = "sha256:" + "a" * 64,
    capabilities: frozenset[Capability] = frozenset({Capability.CHAT, Capability.COMPLETION}),
) -> Model:
    """A model as the engine `fake` has it."""
    return Model(
        engine="fake",
        name=name,
        digest=digest,
        size_bytes=1_000_000,
        capabilities=capabilities,
        plan=LoadPlan(slots=slots, context_tokens=2048),
        state=ModelState.LOADED if loaded else ModelState.COLD,
        loaded=Loaded(slots=slots, context_tokens=2048) if loaded else None,
    )


class FakeEngine:
    """Answers every request with the same script, and ends it properly unless the script does.

    `requests` is what was asked; `loads` are the models and contexts whose load was begun; `running` how many answers are open; `closed` is released once for each answer that
    has come to its end, whichever.
    """

    def __init__(
        self, *models: Model, script: Sequence[Step] = ("Hello", " world"), name: str = "fake"
    ) -> None:
        self._name = name
        self._models = {model.name: model for model in models}
        self.script = tuple(script)
        self.requests: list[Request] = []
        self.loads: list[tuple[str, int]] = []
        self.running = 0
        self.closed = asyncio.Semaphore(0)
        self.embed_requests: list[EmbedRequest] = []
        self.embed_step: Step | None = None
        self.pulls: list[str] = []
        self.pull_steps: Sequence[PullStep | Step] = ()
        self.pulls_closed = asyncio.Semaphore(0)
        self.load_step: Step | None = None
        self.delete_step: Step | None = None
        self.probe_step: Step | None = None
        self.fault = ""
        self.is_closed = False

    @property
    def name(self) -> str:
        return self._name

    async def probe(self) -> EngineInfo:
        await _play(self.probe_step)
        return EngineInfo(name=self._name, version="1", fault=self.fault, pulls=bool(self.pull_steps))

    async def models(self) -> tuple[Model, ...]:
        return tuple(self._models.values())

    async def load(self, model: str, context_tokens: int) -> Loaded:
        self.loads.append((model, context_tokens))
        await _play(self.load_step)
        known = self._known(model)
        loaded = Loaded(slots=known.plan.slots, context_tokens=context_tokens)
        self._models[model] = replace(known, state=ModelState.LOADED, loaded=loaded)
        return loaded

    async def unload(self, model: str) -> None:
        if self.running:
            raise Busy("it runs")
        self._models[model] = replace(self._known(model), state=ModelState.COLD, loaded=None)

    async def generate(self, model: str, request: Request) -> AsyncGenerator[Delta | Finished, None]:
        if self._known(model).loaded is None:
            raise ModelNotLoaded("not in memory")
        self.requests.append(request)
        self.running += 1
        output_tokens = 0
        try:
            for step in self.script:
                if isinstance(step, Finished):
                    yield step
                    return
                await _play(step)
                delta = Delta(step) if isinstance(step, str) else step
                if isinstance(delta, Delta):
                    output_tokens += delta.tokens
                    yield delta
            yield Finished(FinishReason.STOP, Usage(prompt_tokens=PROMPT_TOKENS, output_tokens=output_tokens))
        finally:
            self.running -= 1
            self.closed.release()

    async def embed(self, model: str, request: EmbedRequest) -> AsyncGenerator[Embeddings | Finished, None]:
        """One vector of one piece for each text, which points along its length."""
        if self._known(model).loaded is None:
            raise ModelNotLoaded("not in memory")
        self.embed_requests.append(request)
        self.running += 1
        try:
            await _play(self.embed_step)
            for number, text in enumerate(request.inputs):
                yield Embeddings(number, ((float(len(text)), 1.0),))
            yield Finished(FinishReason.STOP, Usage(prompt_tokens=PROMPT_TOKENS, output_tokens=0))
        finally:
            self.running -= 1
            self.closed.release()

    async def pull(self, model: str) -> AsyncGenerator[PullStep, None]:
        self.pulls.append(model)
        try:
            for step in self.pull_steps:
                if isinstance(step, PullStep):
                    yield step
                else:
                    await _play(step)
            self._models[model] = a_model(model, loaded=False)
        finally:
            self.pulls_closed.release()

    async def delete(self, model: str) -> None:
        await _play(self.delete_step)
        if self.running:
            raise Busy("it runs")
        self._known(model)
        del self._models[model]

    async def aclose(self) -> None:
        self.is_closed = True

    def _known(self, model: str) -> Model:
        if model not in self._models:
            raise UnknownModel(f"no model {model!r}")
        return self._models[model]


async def _play(step: Step | None) -> None:
    if isinstance(step, Gate):
        await step.pass_through()
    elif isinstance(step, Exception):
        raise step
