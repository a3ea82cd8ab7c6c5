"""An HTTP server that says exactly what a test tells it to, byte for byte. For what no healthy engine ever says."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

OK_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END_OF_BODY = b"0\r\n\r\n"


@dataclass(slots=True)
class Script:
    """What to answer, and what was asked. With *hangs* the connection stays open until the client closes it.

    A connection serves *turns* requests, and is closed without a word after that.
    """

    pieces: Sequence[bytes]
    hangs: bool = False
    turns: int = 1
    connections: int = 0
    heads: list[bytes] = field(default_factory=list)
    bodies: list[dict[str, object]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)


def chunk(data: bytes) -> bytes:
    """Write one piece of a chunked body."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def event(payload: object) -> bytes:
    """Write one event of a stream, as a piece of its own."""
    text = payload if isinstance(payload, str) else json.dumps(payload)
    return chunk(f"data: {text}\n\n".encode())


def refusal(status: int, body: object) -> bytes:
    """Write a whole answer with an error."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status} No\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


@asynccontextmanager
async def serve(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Answer every request by *script* on a free loopback port, over TLS when told so; give the URL."""
    connections: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.create_task(_answer(script, reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"{'http' if tls is None else 'https'}://{host}:{port}"
        await asyncio.gather(*connections)


async def _answer(script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    script.connections += 1
    try:
        for _ in range(script.turns):
            await _take_turn(script, reader, writer)
        if script.hangs:
            await reader.read()
            script.hung_up.set()
    except (ConnectionError, asyncio.IncompleteReadError):  # the client hung up first
        script.hung_up.set()
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def _take_turn(script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    script.heads.append(head)
    lengths = [line[15:] for line in head.lower().splitlines() if line.startswith(b"content-length:")]
    script.bodies.append(json.loads(await reader.readexactly(int(lengths[0])) if lengths else b"{}"))
    script.asked.set()
    writer.writelines(script.pieces)
    await writer.drain()
