"""A line between two machines that can be cut: nothing gets through any more, and neither end is told."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CHUNK_BYTES = 65_536


class Cable:
    """Leads from `port` of the loopback to another one."""

    port: int

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._is_whole = asyncio.Event()
        self._is_whole.set()

    def cut(self) -> None:
        """Let nothing through."""
        self._is_whole.clear()

    def mend(self) -> None:
        """Let everything through, what waits included."""
        self._is_whole.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection. At its end nothing waits to be sent: a closed end that waits outlives its loop."""
        try:
            await self._is_whole.wait()
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
            try:
                await asyncio.gather(self._carry(reader, there_writer), self._carry(there_reader, writer))
            finally:
                there_writer.transport.abort()
        finally:
            writer.transport.abort()

    async def _carry(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        try:
            while some := await source.read(CHUNK_BYTES):
                await self._is_whole.wait()
                to.write(some)
                await to.drain()
        except ConnectionError:
            return
        finally:
            to.close()


@asynccontextmanager
async def cable(to_port: int) -> AsyncIterator[Cable]:
    """Run a line to *to_port* for as long as the block lasts."""
    line = Cable(to_port)
    async with asyncio.TaskGroup() as group:
        carried: set[asyncio.Task[None]] = set()

        def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            carried.add(group.create_task(line.serve(reader, writer)))

        server = await asyncio.start_server(carry, "127.0.0.1", 0)
        line.port = server.sockets[0].getsockname()[1]
        try:
            yield line
        finally:
            server.close()
            for task in carried:
                task.cancel()
