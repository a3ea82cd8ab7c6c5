"""What waits to be written to a stream. The stream's handler is its only writer."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from hubspoke.errors import ProtocolViolation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hubspoke.errors import MeshError

T = TypeVar("T")


class Outbox(Generic[T]):
    """A bounded queue that anybody fills, one handler empties, and either may close."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[T] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self.error: MeshError | None = None

    @property
    def is_closed(self) -> bool:
        """Whether the stream is about to end."""
        return self._closed

    def put(self, item: T) -> None:
        """Queue *item*, unless the stream is about to end. Raise ProtocolViolation when too much waits already."""
        if self._closed:
            return
        if len(self._waiting) >= self._limit:
            raise ProtocolViolation(f"the stream does not take its messages; {self._limit} wait already")
        self._waiting.append(item)
        self._wake.set()

    def close(self, error: MeshError | None = None) -> None:
        """End the stream: once everything queued is out, or at once with *error*. The first call counts."""
        if not self._closed:
            self._closed = True
            self.error = error
            self._wake.set()

    async def __aiter__(self) -> AsyncIterator[T]:
        """Give what is queued, as it comes, until the outbox is closed."""
        while self.error is None:
            if self._waiting:
                yield self._waiting.popleft()
            elif self._closed:
                return
            else:
                await self._wake.wait()
                self._wake.clear()
