"""What the agent needs from a program that runs models. Adapters stand beside this module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from hubspoke.types import (
        Delta,
        Embeddings,
        EmbedRequest,
        EngineInfo,
        Finished,
        Loaded,
        Model,
        PullStep,
        Request,
    )

LOAD_TIMEOUT_S: Final = 600.0
"""Longest load: 70B from a slow disk takes minutes; what takes longer hangs."""


class Cards(Protocol):
    """What an engine that this agent runs has to know of the machine's cards."""

    async def indexes(self) -> tuple[int, ...]:
        """Give the indexes of those that it computes on, as the inventory has them."""
        ...

    def vram_bytes(self, pid: int) -> int | None:
        """Say what the process *pid* had of their memory at the last look; None is unknown."""
        ...


class Engine(Protocol):
    """One backend. Every failure is a `hubspoke.errors.MeshError`, most of them a `SpokeError`.

    Messages of those errors cross the mesh, so they hold no paths, prompts or secrets; details go to the log.
    """

    @property
    def name(self) -> str:
        """The engine's name on this spoke, as `Model.engine` gives it."""
        ...

    async def probe(self) -> EngineInfo | None:
        """Say whether it works; a backend that is down is a `fault`, not an error.

        None: it was only looked for, and has never been there, so nobody needs to hear of it.
        """
        ...

    async def models(self) -> tuple[Model, ...]:
        """List what it has, each with its state. Empty while the backend is down."""
        ...

    async def load(self, model: str, context_tokens: int) -> Loaded:
        """Bring *model* into memory with that context for each slot; at once when it is there so already.

        Callers that overlap share one load. How many slots it gets is the model's `LoadPlan`.
        """
        ...

    async def unload(self, model: str) -> None:
        """Take *model* out of memory; nothing happens when it is not there. Raise `Busy` while it runs."""
        ...

    def generate(self, model: str, request: Request) -> AsyncGenerator[Delta | Finished, None]:
        """Answer *request* with a loaded model: any number of deltas, then exactly one `Finished`.

        Closing the generator, or cancelling whoever reads it, stops the work on the GPU. An answer that has a format is
        checked against it before `Finished`. Raises `ModelNotLoaded` when the model is not in memory.
        """
        ...

    def embed(self, model: str, request: EmbedRequest) -> AsyncGenerator[Embeddings | Finished, None]:
        """Turn texts into vectors with a loaded model: all of them in order, a few at a time, then one `Finished`.

        Closing and raising as with `generate`; ContextTooLong for a text that does not fit, which is never cut in silence.
        """
        ...

    def pull(self, model: str) -> AsyncGenerator[PullStep, None]:
        """Get a model from where the engine gets its models, and say how that goes; it is listed when this ends.

        Closing the generator stops it; what is there by then is kept for the next try. Raises Unsupported unless the
        engine's `EngineInfo` says that it pulls, UnknownModel for a name that nobody has.
        """
        ...

    async def delete(self, model: str) -> None:
        """Take *model* out of memory and off the disk; it is listed no more when this returns.

        Raise UnknownModel, Busy while it runs or is being loaded, and Unsupported where it is not the spoke's to delete; it
        is all there then.
        """
        ...

    async def aclose(self) -> None:
        """Stop everything that the adapter started; loaded models are gone afterwards."""
        ...
