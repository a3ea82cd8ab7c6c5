"""One attempt at one request: reads the engine, gathers its tokens, and hands out what is to be sent next."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeAlias

from hubspoke.errors import EngineTruncated, MeshError
from hubspoke.types import Delta, Embeddings, Finished, FinishReason, Usage
from spoke.core.coalesce import Coalescer
from spoke.link.boundary import contained

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

Piece: TypeAlias = Delta | Embeddings
"""Some of an answer."""

Ending: TypeAlias = Finished | MeshError
"""How an attempt ends: properly, or with the error that the hub is told."""


class Answer:
    """What an engine says, as fast as the hub takes it.

    The engine runs ahead by one piece at most, and has been closed when the ending is handed out. *ask* starts it; what
    it raises is the ending too.
    """

    def __init__(self, ask: Callable[[], AsyncGenerator[Piece | Finished, None]], flush_s: float) -> None:
        self._ask = ask
        self._gathered = Coalescer(flush_s)
        self._vectors: Embeddings | None = None
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()  # there is something to hand out
        self._room = asyncio.Event()  # the engine may go on
        self._flush: asyncio.TimerHandle | None = None
        self._pump: asyncio.Task[None] | None = None
        self._ending: Ending | None = None
        self._is_stopped = False
        self._is_closed = False  # the engine is done with this
        self._sent_tokens = 0

    def start(self, group: asyncio.TaskGroup, freed: Callable[[], None]) -> None:
        """Ask the engine, in a task of *group*, and call *freed* once it is closed again."""

        def close(_: asyncio.Task[None]) -> None:
            freed()
            self._is_closed = True
            self._ready.set()

        self._pump = group.create_task(self._read_engine())
        # A callback and not the task's own last words: a task that is cancelled before its first step has none.
        self._pump.add_done_callback(close)

    def stop(self, why: MeshError | None = None) -> None:
        """End early: with *why*, or else as cancelled. What was gathered is dropped; the ending still comes."""
        if self._ending is None and self._pump is not None:
            usage = Usage(prompt_tokens=0, output_tokens=self._sent_tokens)
            self._ending = why or Finished(FinishReason.CANCELLED, usage)
            self._is_stopped = True
            self._pump.cancel()

    async def next(self) -> Piece | Ending:
        """Wait for what is to be sent next: any number of pieces, then the ending."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            if self._flush is not None:
                self._flush.cancel()
                self._flush = None
            piece = self._take()
            if piece is not None and not self._is_stopped:
                if self._is_closed:
                    self._ready.set()
                self._room.set()
                return piece
            if self._is_closed and self._ending is not None:
                return self._ending

    def _take(self) -> Piece | None:
        if self._vectors is not None:
            vectors, self._vectors = self._vectors, None
            return vectors
        delta = self._gathered.take(self._loop.time())
        if delta is not None and not self._is_stopped:
            self._sent_tokens += delta.tokens
        return delta

    async def _read_engine(self) -> None:
        failure = await contained("engine", self._gather())
        if self._ending is None:
            self._ending = failure or EngineTruncated("the engine's answer broke off; ask again")

    async def _gather(self) -> None:
        async with aclosing(self._ask()) as events:
            async for event in events:
                if isinstance(event, Finished):
                    # Before the engine is closed: from here on a stop comes too late to interrupt that.
                    self._ending = event
                    return
                await self._gather_piece(event)

    async def _gather_piece(self, piece: Piece) -> None:
        if isinstance(piece, Embeddings):
            self._vectors = piece
            self._ready.set()
            await self._have_room()
            return
        if not self._gathered.takes(piece):
            self._ready.set()
            await self._have_room()
        self._call_when_due(self._gathered.add(piece))
        if self._gathered.is_full:
            await self._have_room()

    async def _have_room(self) -> None:
        """Wait until what has gathered was taken."""
        self._room.clear()
        await self._room.wait()

    def _call_when_due(self, due: float) -> None:
        if due <= self._loop.time():
            self._ready.set()
        elif self._flush is None:
            self._flush = self._loop.call_at(due, self._ready.set)
