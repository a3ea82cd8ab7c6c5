"""Outside servers of the OpenAI HTTP API: vLLM, SGLang, llama-server, LM Studio and their like.

They run by themselves, so from here their models are always loaded, and nobody can load or unload one. Nothing tells
what their weights are either: the models have no digest, and are never taken for the same as those of another spoke.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hubspoke.errors import ContextTooLong, EngineUnavailable, MeshError, UnknownModel, Unsupported
from hubspoke.types import Capability, EngineInfo, Loaded, LoadPlan, Model, ModelState
from spoke.engines.admission import Admission
from spoke.engines.lacking import no_pull
from spoke.engines.openai.http import OpenAiClient
from spoke.engines.openai.models import Served

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from hubspoke.types import Delta, Embeddings, EmbedRequest, Finished, PullStep, Request
    from spoke.engines.openai.http import Endpoint

LIKELY: Final = frozenset(
    {
        Capability.CHAT,
        Capability.COMPLETION,
        Capability.JSON_SCHEMA,
        Capability.TOOLS,
        Capability.TOOL_CHOICE,
    }
)
"""What such servers can mostly be asked for. Which of their models can do it, they do not say."""


class OpenAiEngine:
    """One server under a name of its own.

    *plan* says how many requests each of its models runs side by side, and the context where the server is silent on it;
    *capabilities* what its models can do, beside what the server tells of them.
    """

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        plan: LoadPlan,
        capabilities: frozenset[Capability] = LIKELY,
    ) -> None:
        self._name = name
        self._plan = plan
        self._capabilities = capabilities
        self._client = OpenAiClient(endpoint)
        self._admission = Admission()
        self._served: tuple[Served, ...] | None = None
        self._told: dict[str, Served] = {}  # also what a server that is silent now has told before

    @property
    def name(self) -> str:
        """The engine's name on this spoke."""
        return self._name

    async def probe(self) -> EngineInfo:
        """Ask for the list of models; a server that does not give it has a fault. No server tells its version here."""
        try:
            self._served = await self._client.models()
        except MeshError as error:
            self._served = None
            return EngineInfo(self._name, fault=error.message)
        self._told |= {served.name: served for served in self._served}
        return EngineInfo(self._name)

    async def models(self) -> tuple[Model, ...]:
        """List what the server had at the last probe."""
        if self._served is None:
            await self.probe()
        return tuple(self._describe(served) for served in self._served or ())

    async def load(self, model: str, context_tokens: int) -> Loaded:
        """Give what is there; raise UnknownModel, ContextTooLong when the server runs it with less, or EngineUnavailable."""
        found = next((listed for listed in await self.models() if listed.name == model), None)
        if self._served is None:
            raise EngineUnavailable(f"the engine {self._name!r} does not answer; is it running?")
        if found is None or found.loaded is None:
            raise UnknownModel(f"the engine {self._name!r} has no model {model!r}")
        if context_tokens > found.loaded.context_tokens:
            limit = found.loaded.context_tokens
            raise ContextTooLong(
                f"{model!r} runs with {limit} tokens of context, not {context_tokens}", context_tokens=limit
            )
        return found.loaded

    async def unload(self, model: str) -> None:
        """Raise Unsupported, unless *model* is not there at all."""
        if any(listed.name == model for listed in await self.models()):
            raise Unsupported(f"the engine {self._name!r} decides by itself which models it keeps in memory")

    async def generate(self, model: str, request: Request) -> AsyncGenerator[Delta | Finished, None]:
        """Answer *request*; raise EngineOverloaded without a free slot, and what the server refuses it with."""
        served = self._told.get(model, Served(model))
        thinks = Capability.THINKING in served.capabilities(self._capabilities)
        if request.thinking is not None and not thinks:
            # It does not think anyway, and the server may not know the word that tells it not to.
            request = replace(request, thinking=None)
        with self._admission.slot(model, self._plan.slots):
            async with aclosing(self._client.generate(model, request, served.dialect, {})) as events:
                async for event in events:
                    yield event

    async def embed(self, model: str, request: EmbedRequest) -> AsyncGenerator[Embeddings | Finished, None]:
        """Make vectors of texts; raise EngineOverloaded without a free slot, and what the server refuses it with."""
        with self._admission.slot(model, self._plan.slots):
            async with aclosing(self._client.embed(model, request)) as events:
                async for event in events:
                    yield event

    def pull(self, model: str) -> AsyncGenerator[PullStep, None]:  # noqa: ARG002  # the Protocol's
        """Raise Unsupported."""
        return no_pull(self._name)

    async def delete(self, model: str) -> None:
        """Raise Unsupported, or UnknownModel."""
        if not any(listed.name == model for listed in await self.models()):
            raise UnknownModel(f"the engine {self._name!r} has no model {model!r}")
        raise Unsupported(f"the engine {self._name!r} keeps its models by itself; delete it there")

    async def aclose(self) -> None:
        """Close every connection. The server goes on with its models in memory, as it did before."""
        await self._client.aclose()

    def _describe(self, served: Served) -> Model:
        loaded = Loaded(self._plan.slots, served.context_tokens or self._plan.context_tokens)
        return Model(
            engine=self._name,
            name=served.name,
            context_tokens_max=served.context_tokens,
            capabilities=served.capabilities(self._capabilities),
            plan=LoadPlan(loaded.slots, loaded.context_tokens),
            state=ModelState.LOADED,
            loaded=loaded,
        )
