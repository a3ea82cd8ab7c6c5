"""HTTP/1.1 to engines: a connection for each request, and nothing in between that would delay the first token.

httpx's own transport pools connections, speaks through anyio and parses in Python. That costs more than all the rest
of the mesh does for a request (`just bench gateway`).
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import httptools
import httpx

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from pathlib import Path

READ_BYTES: Final = 1 << 16
HEAD_BYTES_MAX: Final = 1 << 18
"""Of a response whose headers do not end."""


class DirectTransport(httpx.AsyncBaseTransport):
    """Connects to *socket*, or to where a request goes; at most so many connections at a time."""

    def __init__(self, context: ssl.SSLContext | None, socket: Path | None, connections_max: int) -> None:
        self._context = context
        self._socket = socket
        self._places = asyncio.Semaphore(connections_max)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request*, and give the response as soon as its headers are there."""
        limits: dict[str, float | None] = request.extensions.get("timeout", {})
        async with _failing_as(httpx.PoolTimeout, httpx.PoolTimeout, limits.get("pool")):
            await self._places.acquire()
        try:
            async with _failing_as(httpx.ConnectTimeout, httpx.ConnectError, limits.get("connect")):
                reader, writer = await self._connect(request.url)
        except BaseException:
            self._places.release()
            raise
        incoming = _Incoming(reader, writer, limits.get("read"), self._places)
        try:
            async with _failing_as(httpx.WriteTimeout, httpx.WriteError, limits.get("write")):
                writer.write(_head(request) + await request.aread())
                await writer.drain()
            await incoming.head()
        except BaseException:
            await incoming.aclose()
            raise
        return httpx.Response(incoming.status, headers=incoming.headers, stream=incoming)

    async def _connect(self, url: httpx.URL) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._socket is not None:
            return await asyncio.open_unix_connection(self._socket)
        is_secret = url.scheme == "https"
        port = url.port or (443 if is_secret else 80)
        return await asyncio.open_connection(url.host, port, ssl=self._context if is_secret else None)


class _Incoming(httpx.AsyncByteStream):
    """A response as it comes in, which is its body too."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        silence_s: float | None,
        places: asyncio.Semaphore,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._silence_s = silence_s
        self._places: asyncio.Semaphore | None = places
        self._parser = httptools.HttpResponseParser(self)
        self._bodies: list[bytes] = []
        self._has_head = False
        self._is_whole = False
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []

    # What the parser finds.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what comes after the body is none that anybody asks for."""
        if not self._has_head:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Note that the head is there."""
        if not self._has_head:
            self.status = self._parser.get_status_code()
            self._has_head = True

    def on_body(self, body: bytes) -> None:
        """Take some of the body, without the frames of its chunks."""
        if not self._is_whole:
            self._bodies.append(body)

    def on_message_complete(self) -> None:
        """Note that the response is over."""
        self._is_whole = True

    # What httpx wants.

    async def head(self) -> None:
        """Wait for the status and the headers."""
        received = 0
        while not self._has_head:
            received += await self._feed()
            if received > HEAD_BYTES_MAX:
                raise httpx.RemoteProtocolError("the headers do not end")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the body as it comes."""
        while True:
            if self._bodies:
                bodies, self._bodies = self._bodies, []
                yield b"".join(bodies)
            elif self._is_whole:
                return
            else:
                await self._feed()

    async def aclose(self) -> None:
        """Close the connection, whatever is still to come."""
        if self._places is not None:
            self._places.release()
            self._places = None
            if self._is_whole:
                self._writer.close()
            else:
                self._writer.transport.abort()  # the rest of it is not wanted, and must not be waited for

    async def _feed(self) -> int:
        async with _failing_as(httpx.ReadTimeout, httpx.ReadError, self._silence_s):
            received = await self._reader.read(READ_BYTES)
        if received:
            try:
                self._parser.feed_data(received)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
                if not self._is_whole:  # what follows the end is nobody's
                    raise httpx.RemoteProtocolError("the response makes no sense") from error
        elif self._has_head and not self._is_framed():
            self._is_whole = True  # a body without a length ends with the connection
        else:
            raise httpx.RemoteProtocolError("the connection was closed in the middle of a response")
        return len(received)

    def _is_framed(self) -> bool:
        return any(name.lower() in {b"content-length", b"transfer-encoding"} for name, _ in self.headers)


def _head(request: httpx.Request) -> bytes:
    line = request.method.encode() + b" " + request.url.raw_path + b" HTTP/1.1"
    headers = (name + b": " + value for name, value in request.headers.raw)
    return b"\r\n".join([line, *headers, b"", b""])


@asynccontextmanager
async def _failing_as(
    late: type[httpx.TimeoutException], failed: type[httpx.TransportError], seconds: float | None
) -> AsyncIterator[None]:
    """Give what happens within *seconds* the names that httpx has for it."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise late(f"nothing came within {seconds:g} s") from error
    except OSError as error:
        raise failed(str(error)) from error
