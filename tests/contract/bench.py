"""What the contract is checked on, how it asks, and what it knows of the answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace

import psutil
import pytest

from hubspoke.types import (
    Capability,
    Delta,
    Effort,
    Embeddings,
    EmbedRequest,
    Finished,
    JsonFormat,
    Loaded,
    Message,
    Model,
    Request,
    Sampling,
    Speaker,
    ToolCall,
    Vector,
)
from spoke.engines.base import Engine
from spoke.models.store import SHIPPED
from spoke.platform import Platform
from tests.fakes.gguf import string

LOOPBACK = Platform(has_unix_sockets=False, has_apple_gpu=False)
"""What Windows offers."""
CHILD = "spoke.engines.llamacpp.child"
GREEDY = Sampling(temperature=0.0)
SOON_S = 20.0
"""Far longer than anything here takes, also on a machine that is slow and stands still now and then."""

EVERYTHING = frozenset(Capability)

REVERSE = "reverse abcde", "edcba"
LONG = "count to 60", " ".join(str(number) for number in range(1, 61))


@dataclass(frozen=True, slots=True)
class Bench:
    """An engine, a model of it and what that model can do.

    *onlooker* sees what the engine's backend has in memory, also when the engine is closed. *capabilities* are those that
    the model has to be listed with: what is beyond them is refused by the hub, and not tried here.
    """

    engine: Engine
    onlooker: Engine
    model: str = "tiny"
    slots: int = 2
    context_tokens: int = 2048
    tells_cached_tokens: bool = True
    tells_stops: bool = True
    capabilities: frozenset[Capability] = EVERYTHING - {Capability.VISION}

    def needs(self, *capabilities: Capability) -> None:
        """Skip the test unless the model has all of them; another one holds the bench to what it says."""
        missing = set(capabilities) - self.capabilities
        if missing:
            pytest.skip(f"{self.model} of {self.engine.name} cannot: {', '.join(sorted(missing))}")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; *calls* are put together from their parts."""

    text: str
    thinking: str
    calls: tuple[ToolCall, ...]
    finished: Finished


def chat(text: str, **changes: object) -> Request:
    """Ask *text* as a user, with no chance involved."""
    options = {"sampling": GREEDY, **changes}
    return Request("as the mesh calls it", messages=(Message(Speaker.USER, text),), **options)


def still(loaded: Loaded | None) -> Loaded | None:
    """Give what a model takes up without the figures that move all the time."""
    return None if loaded is None else replace(loaded, memory_bytes=0, vram_bytes=None)


def going_on() -> Request:
    """Ask for what takes the model long enough to be interrupted in, however busy the machine is."""
    numbers = JsonFormat('{"type":"array","items":{"type":"integer"},"minItems":500}')
    return chat("count to 60", format=numbers, thinking=Effort.NONE)


async def whole(events: AsyncGenerator[Delta | Finished, None]) -> Answer:
    """Read an answer to its end; check that this is the only end, and that each piece before is of one kind."""
    seen: list[Delta | Finished] = []
    async with asyncio.timeout(SOON_S), aclosing(events):
        seen += [event async for event in events]
    deltas, finished = seen[:-1], seen[-1]
    assert isinstance(finished, Finished)
    assert all(isinstance(delta, Delta) for delta in deltas)
    assert all([bool(d.text), bool(d.thinking), bool(d.tool_calls)].count(True) == 1 for d in deltas)
    return Answer(
        text="".join(delta.text for delta in deltas),
        thinking="".join(delta.thinking for delta in deltas),
        calls=_calls(deltas),
        finished=finished,
    )


def _calls(deltas: Sequence[Delta]) -> tuple[ToolCall, ...]:
    """Put calls together; check that a call begins with its id and its name, and that no two ids are the same."""
    calls: dict[int, ToolCall] = {}
    for part in (part for delta in deltas for part in delta.tool_calls):
        begun = calls.get(part.index)
        assert (begun is None) == bool(part.name) == bool(part.id)
        before = ToolCall(part.name, "", part.id) if begun is None else begun
        calls[part.index] = replace(before, arguments=before.arguments + part.arguments)
    assert list(calls) == list(range(len(calls)))
    assert len({call.id for call in calls.values()}) == len(calls)
    return tuple(calls.values())


async def collected(events: AsyncGenerator[Delta | Finished, None]) -> tuple[str, Finished]:
    """Read an answer that is nothing but text."""
    answer = await whole(events)
    assert (answer.thinking, answer.calls) == ("", ())
    return answer.text, answer.finished


async def answered(engine: Engine, model: str, request: Request) -> Answer:
    return await whole(engine.generate(model, request))


async def ask(engine: Engine, model: str, request: Request) -> tuple[str, Finished]:
    return await collected(engine.generate(model, request))


async def embedded(
    engine: Engine, model: str, *inputs: str, dimensions: int = 0
) -> tuple[list[Vector], Finished]:
    """Turn texts into vectors; check that they come in order, and that there is one end."""
    vectors: list[Vector] = []
    events = engine.embed(model, EmbedRequest("as the mesh calls it", inputs, dimensions))
    async with asyncio.timeout(SOON_S), aclosing(events):
        async for event in events:
            if isinstance(event, Finished):
                finished = event
                break
            assert isinstance(event, Embeddings)
            assert event.first == len(vectors)
            vectors += event.vectors
        assert [event async for event in events] == []
    assert len(vectors) == len(inputs)
    return vectors, finished


async def begun(engine: Engine, model: str, request: Request) -> AsyncGenerator[Delta | Finished, None]:
    """Start an answer and read its first piece."""
    events = engine.generate(model, request)
    async with asyncio.timeout(SOON_S):
        assert isinstance(await anext(events), Delta)
    return events


async def described(engine: Engine, name: str) -> Model:
    return next(model for model in await engine.models() if model.name == name)


def children(parent: int | None = None) -> list[psutil.Process]:
    """Give the processes with an engine that *parent* has, or this process."""
    return [child for child in psutil.Process(parent).children() if _has_an_engine(child)]


def _has_an_engine(child: psutil.Process) -> bool:
    try:
        return child.status() != psutil.STATUS_ZOMBIE and CHILD in child.cmdline()
    except psutil.NoSuchProcess:  # it has just ended
        return False


async def frozen_load(bench: Bench) -> list[psutil.Process]:
    """Wait until a load that is under way has its process, and freeze that: it lasts until `thaw`."""
    while not (found := children()):
        await described(bench.engine, bench.model)
    for child in found:
        child.suspend()
    return found


def thaw(frozen: Sequence[psutil.Process]) -> None:
    """Let processes go on, if they are still there."""
    for child in frozen:
        with suppress(psutil.NoSuchProcess):
            child.resume()


def renamed(shipped: str, name: str) -> bytes:
    """Give a shipped model with another name of the same length in its header."""
    data = (SHIPPED / f"{shipped}-q8_0.gguf").read_bytes()
    assert len(shipped) == len(name)
    return data.replace(string(shipped), string(name), 1)
