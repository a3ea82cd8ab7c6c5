"""A line between two machines that can be cut: nothing gets through any more, and neither end is told."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HERE = "127.0.0.1"
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

    async def serve(self, here: socket.socket) -> None:
        """Carry one connection to its end, which is also that of one that nobody takes there."""
        with here, socket.socket() as there, suppress(ConnectionError):
            there.settimeout(0)
            await self._is_whole.wait()
            await asyncio.get_running_loop().sock_connect(there, (HERE, self._to_port))
            await asyncio.gather(self._carry(here, there), self._carry(there, here))

    async def _carry(self, source: socket.socket, to: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            while some := await loop.sock_recv(source, CHUNK_BYTES):
                await self._is_whole.wait()
                await loop.sock_sendall(to, some)
        except ConnectionError:
            return
        finally:
            with suppress(OSError):  # it may have ended before
                to.shutdown(socket.SHUT_WR)


@asynccontextmanager
async def cable(to_port: int) -> AsyncIterator[Cable]:
    """Run a line to *to_port* for as long as the block lasts."""
    line, loop = Cable(to_port), asyncio.get_running_loop()
    # Plain sockets, closed here one by one: who connects in the last moment gets a task that is cancelled before it begins,
    # and asyncio's own server would leave that connection open, for whichever test is under way when it is found.
    with ExitStack() as opened:
        listening = opened.enter_context(socket.create_server((HERE, 0)))
        listening.settimeout(0)
        line.port = listening.getsockname()[1]
        async with asyncio.TaskGroup() as group:
            carried: set[asyncio.Task[None]] = set()

            def carry() -> None:
                with suppress(BlockingIOError, ConnectionError):  # who came is gone
                    here = opened.enter_context(listening.accept()[0])
                    here.settimeout(0)
                    carried.add(group.create_task(line.serve(here)))

            loop.add_reader(listening, carry)
            try:
                yield line
            finally:
                loop.remove_reader(listening)
                for task in carried:
                    task.cancel()
