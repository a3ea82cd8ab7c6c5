"""The end of a notify socket that systemd holds: real datagrams, read in the test's own loop."""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hubspoke.notify import SOCKET_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT_S = 30.0
"""Longest wait for a message: a service may have to start first."""
MESSAGE_BYTES_MAX = 4096


class ServiceManager:
    """What a service has told."""

    def __init__(self, listening: socket.socket, address: str) -> None:
        self._listening = listening
        self.environment = {SOCKET_VARIABLE: address}

    async def hears(self, sign: str) -> list[str]:
        """Wait for the message that has *sign* as a line, and give its lines; others are passed over."""
        async with asyncio.timeout(WAIT_S):
            while True:
                lines = (await self.next()).splitlines()
                if sign in lines:
                    return lines

    async def next(self) -> str:
        """Wait for a message."""
        async with asyncio.timeout(WAIT_S):
            data = await asyncio.get_running_loop().sock_recv(self._listening, MESSAGE_BYTES_MAX)
        return data.decode()


@contextmanager
def service_manager(address: str) -> Iterator[ServiceManager]:
    """Listen at *address*: a path, or a name after an @ in Linux's abstract namespace."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(0)
        listening.bind("\0" + address[1:] if address.startswith("@") else address)
        yield ServiceManager(listening, address)
