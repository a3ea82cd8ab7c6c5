"""HTTP as bytes on a connection: what no client's library would send, or would not show."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from hubspoke.http_marks import MESH_HEADER
from tests.fakes.real_hub import WAIT_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.gateway.conftest import Gateway

ASK = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}
CHAT = "/v1/chat/completions"


class Wire:
    """A connection, as bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))

    async def status(self) -> int:
        """Read one response with its body."""
        async with asyncio.timeout(WAIT_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
            assert f"\r\n{MESH_HEADER}: ".encode() in head
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await self.reader.readexactly(length)
        return int(head.split()[1])

    async def is_closed(self) -> None:
        """Wait until the hub closes it."""
        async with asyncio.timeout(WAIT_S):
            try:
                while await self.reader.read(65_536):
                    pass
            except ConnectionError:
                pass  # it was closed on what it had not read, or read no more of


@asynccontextmanager
async def a_wire(gateway: Gateway, *, receives_bytes: int | None = None) -> AsyncIterator[Wire]:
    """Connect; the system takes *receives_bytes* for the client beforehand, or what it likes to."""
    made = socket.socket()
    made.setblocking(False)  # noqa: FBT003  # as it is called
    if receives_bytes is not None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives_bytes)
    await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", gateway.hub.ports.gateway[0]))
    reader, writer = await asyncio.open_connection(sock=made)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


def asked(
    gateway: Gateway, *headers: str, path: str = CHAT, body: object = ASK, version: str = "1.1"
) -> bytes:
    """Give a question as bytes."""
    content = json.dumps(body).encode()
    lines = (
        f"POST {path} HTTP/{version}",
        "host: localhost",
        f"authorization: Bearer {gateway.key}",
        *headers,
        f"content-length: {len(content)}",
    )
    return "\r\n".join((*lines, "", "")).encode() + content
