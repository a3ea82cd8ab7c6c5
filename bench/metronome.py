"""An engine that costs next to nothing: it answers with ticks and tocks, on time."""

from __future__ import annotations

import asyncio
import mmap
import struct
from typing import TYPE_CHECKING, Final

from hubspoke.errors import UnknownModel
from hubspoke.types import (
    Capability,
    Delta,
    EngineInfo,
    Finished,
    FinishReason,
    Loaded,
    LoadPlan,
    Model,
    ModelState,
    Usage,
)
from spoke.engines.lacking import no_pull, no_vectors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from hubspoke.types import Embeddings, EmbedRequest, PullStep, Request

ENGINE: Final = "metronome"
SLOTS: Final = 256
CONTEXT_TOKENS: Final = 1 << 20

FAST: Final = "fast"
STEADY: Final = "steady"
BRISK: Final = "brisk"
FLOOD: Final = "flood"
RATES: Final = {STEADY: 50, BRISK: 400, FAST: 0, FLOOD: 0}
"""Tokens a second of each model; 0 is as many as the machine makes. FLOOD is for clients that do not read: what it
makes is counted apart from the rest."""

TOKEN_BYTES: Final = 5
TOKENS: Final = (" tick", " tock")
_DELTAS: Final = tuple(Delta(token) for token in TOKENS)
_PERIOD: Final = "".join(TOKENS)
_COUNT: Final = struct.Struct("Q")


class Tally:
    """How many tokens each model has made, in a file that other processes may read meanwhile."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_COUNT.size * len(RATES)))
        with path.open("r+b") as file:
            self._counts = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")

    def add(self, model: str) -> None:
        """Count one more token of *model*."""
        self._counts[_PLACES[model]] += 1

    def tokens(self, model: str) -> int:
        """Say how many tokens *model* has made since the file was made."""
        return self._counts[_PLACES[model]]


_PLACES: Final = {model: place for place, model in enumerate(RATES)}


class Metronome:
    """Makes as many tokens as it is asked for: the first one at once, each other one when its time has come."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    @property
    def name(self) -> str:
        """The engine's name."""
        return ENGINE

    async def probe(self) -> EngineInfo:
        """Say that it works."""
        return EngineInfo(name=ENGINE, version="1")

    async def models(self) -> tuple[Model, ...]:
        """List the models; all of them are always in memory."""
        return tuple(
            Model(
                engine=ENGINE,
                name=name,
                capabilities=frozenset({Capability.CHAT, Capability.COMPLETION}),
                plan=LoadPlan(SLOTS, CONTEXT_TOKENS),
                state=ModelState.LOADED,
                loaded=Loaded(SLOTS, CONTEXT_TOKENS),
            )
            for name in RATES
        )

    async def load(self, model: str, context_tokens: int) -> Loaded:
        """Do nothing: *model* is there."""
        if model not in RATES:
            raise UnknownModel(f"the metronome has no {model!r}")
        return Loaded(SLOTS, context_tokens)

    async def unload(self, model: str) -> None:
        """Do nothing: it stays."""

    async def generate(self, model: str, request: Request) -> AsyncGenerator[Delta | Finished, None]:
        """Make `max_output_tokens` tokens."""
        loop, rate, tally = asyncio.get_running_loop(), RATES[model], self._tally
        began_at = loop.time()
        for number in range(request.max_output_tokens):
            if number:
                # By the clock and not by the last token: a late one must not delay all that follow.
                await asyncio.sleep(began_at + number / rate - loop.time() if rate else 0)
            tally.add(model)
            yield _DELTAS[number % 2]
        usage = Usage(prompt_tokens=1, output_tokens=request.max_output_tokens)
        yield Finished(FinishReason.LENGTH, usage)

    def embed(self, _model: str, _request: EmbedRequest) -> AsyncGenerator[Embeddings | Finished, None]:
        """Raise Unsupported."""
        return no_vectors(ENGINE)

    def pull(self, _model: str) -> AsyncGenerator[PullStep, None]:
        """Raise Unsupported."""
        return no_pull(ENGINE)

    async def aclose(self) -> None:
        """Do nothing: nothing was started."""


def is_next(text: str, tokens_before: int) -> bool:
    """Whether *text* is whole tokens, and just what follows the first *tokens_before* of an answer."""
    tokens, rest = divmod(len(text), TOKEN_BYTES)
    first = tokens_before % 2
    whole = _PERIOD * (tokens // 2 + 1)
    return not rest and text == whole[first * TOKEN_BYTES :][: len(text)]
