"""Connections that no gRPC library would make: old versions of TLS, pings without end, silence."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, ResponseReceived, TrailersReceived

from pki import pem
from pki.identity import HUB_SERVER_NAME
from tests.security.yard import CALL_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from h2.events import Event

    from pki.credential import Credential
    from tests.security.yard import Yard

READ_BYTES = 64 * 1024


def context(yard: Yard, shown: Credential | None) -> ssl.SSLContext:
    """Give the settings of a TLS client that trusts the hub, speaks HTTP/2, and shows *shown*."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(cadata=pem.write(yard.anchors).decode())
    made.set_alpn_protocols(["h2"])
    if shown is not None:
        with NamedTemporaryFile(suffix=".pem") as file:
            file.write(shown.pem)
            file.flush()
            made.load_cert_chain(file.name)
    return made


@dataclass
class Http2:
    """One HTTP/2 connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    connection: H2Connection = field(
        default_factory=lambda: H2Connection(H2Configuration(header_encoding="utf-8"))
    )

    def send(self) -> None:
        """Send what the protocol has made ready."""
        self.writer.write(self.connection.data_to_send())

    async def until(self, is_it: Callable[[Event], bool]) -> Event:
        """Read until an event of which *is_it* is true; EOFError when the peer has closed before.

        Nothing is acknowledged: to write to a peer that has just closed would lose what it has said last.
        """
        async with asyncio.timeout(CALL_S):
            while data := await self.reader.read(READ_BYTES):
                for event in self.connection.receive_data(data):
                    if is_it(event):
                        return event
        raise EOFError("the peer has closed the connection")

    async def call(self, path: str) -> str:
        """Make a gRPC call with an empty message; give its status and message as one line."""
        stream = self.connection.get_next_available_stream_id()
        headers = [
            (":method", "POST"),
            (":scheme", "https"),
            (":path", path),
            (":authority", HUB_SERVER_NAME),
        ]
        more = [("te", "trailers"), ("content-type", "application/grpc")]
        self.connection.send_headers(stream, headers + more)
        self.connection.send_data(stream, bytes(5), end_stream=True)
        self.send()
        event = await self.until(lambda event: "grpc-status" in _headers(event))
        told = _headers(event)
        return f"{told['grpc-status']}: {told.get('grpc-message', '')}"

    async def goaway(self) -> ConnectionTerminated:
        """Wait until the peer says that it will hear no more."""
        event = await self.until(lambda event: isinstance(event, ConnectionTerminated))
        assert isinstance(event, ConnectionTerminated)
        return event


def _headers(event: Event) -> dict[str, str]:
    if not isinstance(event, ResponseReceived | TrailersReceived):
        return {}
    return {str(name): str(value) for name, value in event.headers or ()}


@asynccontextmanager
async def http2(yard: Yard, settings: ssl.SSLContext, port: int) -> AsyncIterator[Http2]:
    """Connect to *port* of the hub with *settings*."""
    async with asyncio.timeout(CALL_S):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=settings, server_hostname=HUB_SERVER_NAME
        )
    try:
        opened = Http2(reader, writer)
        opened.connection.initiate_connection()
        opened.send()
        yield opened
    finally:
        writer.transport.abort()
