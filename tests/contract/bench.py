"""What the contract is checked on, how it asks, and what it knows of the answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

import psutil

from hubspoke.types import Delta, Finished, Loaded, Message, Model, Request, Sampling, Speaker
from spoke.engines.base import Engine
from spoke.platform import Platform

LOOPBACK = Platform(has_unix_sockets=False, has_apple_gpu=False)
"""What Windows offers."""
CHILD = "spoke.engines.child"
GREEDY = Sampling(temperature=0.0)
SOON_S = 5.0
"""Far longer than anything here takes, and far shorter than what a slot that leaks costs."""

REVERSE = "reverse abcde", "edcba"
LONG = "count to 60", " ".join(str(number) for number in range(1, 61))


@dataclass(frozen=True, slots=True)
class Bench:
    """An engine, a model of it and what that model can do.

    *onlooker* sees what the engine's backend has in memory, also when the engine is closed.
    """

    engine: Engine
    onlooker: Engine
    model: str = "tiny"
    slots: int = 2
    context_tokens: int = 2048
    tells_cached_tokens: bool = True


def chat(text: str, **changes: object) -> Request:
    """Ask *text* as a user, with no chance involved."""
    options = {"sampling": GREEDY, **changes}
    return Request("as the mesh calls it", messages=(Message(Speaker.USER, text),), **options)


def still(loaded: Loaded | None) -> Loaded | None:
    """Give what a model takes up without the figures that move all the time."""
    return None if loaded is None else replace(loaded, memory_bytes=0, vram_bytes=None)


async def collected(events: AsyncGenerator[Delta | Finished, None]) -> tuple[str, Finished]:
    """Read an answer to its end; check that this is the only end."""
    seen: list[Delta | Finished] = []
    async with asyncio.timeout(SOON_S), aclosing(events):
        seen += [event async for event in events]
    deltas, finished = seen[:-1], seen[-1]
    assert isinstance(finished, Finished)
    assert all(isinstance(delta, Delta) and delta.text for delta in deltas)
    return "".join(delta.text for delta in deltas), finished


async def ask(engine: Engine, model: str, request: Request) -> tuple[str, Finished]:
    return await collected(engine.generate(model, request))


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
    found = psutil.Process(parent).children()
    return [child for child in found if child.status() != psutil.STATUS_ZOMBIE and CHILD in child.cmdline()]
