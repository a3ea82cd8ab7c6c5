"""Connections to a server of the OpenAI HTTP API, by aiohttp: a fifth of the time to a first token that httpx takes.

It takes 12 MB and 0.3 s to import, which a spoke is spared until it has such a server, or a model of its own in memory.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiohttp

from hubspoke.errors import EngineProtocol, EngineTimeout, EngineTruncated, EngineUnavailable
from spoke.engines.connection import CONNECT_TIMEOUT_S, CONNECTIONS_MAX, WRITE_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path
    from types import SimpleNamespace

    from aiohttp import ClientResponse, TraceConnectionReuseconnParams

KEEP_ALIVE_S: Final = 2.0
"""How long an idle connection is kept. Servers close theirs after 5 s and more, llama.cpp without a word: this is
shorter, so that hardly a request meets a connection that is just being closed."""
END_S: Final = 0.05
"""How long a response may take to its end, once all that it has to say is there, for its connection to be kept."""


@dataclass(slots=True)
class _Way:
    """How a request goes out."""

    is_used: bool = False
    """Whether its connection has carried another one before."""


class Connections:
    """The way to the server at *url*, or at *socket* when there is one. Over https the system's authorities are trusted."""

    def __init__(self, url: str, socket: Path | None, headers: Mapping[str, str]) -> None:
        self._url = url.rstrip("/")
        self._session = aiohttp.ClientSession(
            connector=_connector(url, socket),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # nothing is compressed: it was asked not to be
            trace_configs=[_noting_used()],
        )

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be asked any more."""
        return self._session.closed

    @asynccontextmanager
    async def asked(
        self, method: str, path: str, content: bytes | None, silence_s: float
    ) -> AsyncIterator[ClientResponse]:
        """Send a request, and give the response once its head is there; no part of it may take more than *silence_s*.

        At the end the connection is kept if the whole response was read, and closed at once otherwise.
        """
        with as_ours():
            async with asyncio.timeout(WRITE_TIMEOUT_S + silence_s):
                response = await self._responding(method, path, content, silence_s)
            try:
                yield response
            finally:
                if response.content.at_eof():
                    response.release()
                else:
                    response.close()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def _responding(
        self, method: str, path: str, content: bytes | None, silence_s: float
    ) -> ClientResponse:
        """Send a request; again when the server has closed, without a word, a connection that had served before."""
        limits = aiohttp.ClientTimeout(connect=CONNECT_TIMEOUT_S, sock_read=silence_s)
        while True:
            way = _Way()
            try:
                return await self._session.request(
                    method,
                    self._url + path,
                    data=content,
                    allow_redirects=False,
                    timeout=limits,
                    trace_request_ctx=way,
                )
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if not way.is_used:
                    raise  # it has closed a fresh one, and may well have done so because of what was asked


async def read_to_end(response: ClientResponse) -> None:
    """Read what nobody needs of a response that has said everything, so that its connection is kept."""
    try:
        async with asyncio.timeout(END_S):
            while not response.content.at_eof():
                await response.content.readany()
    except (TimeoutError, aiohttp.ClientError):
        pass  # it is closed then, and nothing is lost


@contextmanager
def as_ours() -> Iterator[None]:
    """Turn what can happen to a connection into errors of the mesh."""
    try:
        yield
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise EngineUnavailable("the engine does not answer; is it running?") from error
    except TimeoutError as error:  # aiohttp's own are such, too
        raise EngineTimeout("the engine was silent for too long") from error
    except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
        raise EngineTruncated("the engine closed the connection in the middle of its answer") from error
    except aiohttp.ClientError as error:
        raise EngineProtocol("the engine does not speak HTTP as it should") from error


def _noting_used() -> aiohttp.TraceConfig:
    async def used(
        _session: aiohttp.ClientSession, context: SimpleNamespace, _: TraceConnectionReuseconnParams
    ) -> None:
        context.trace_request_ctx.is_used = True

    tracing = aiohttp.TraceConfig()
    tracing.on_connection_reuseconn.append(used)
    return tracing


def _connector(url: str, socket: Path | None) -> aiohttp.BaseConnector:
    if socket is not None:
        return aiohttp.UnixConnector(str(socket), limit=CONNECTIONS_MAX, keepalive_timeout=KEEP_ALIVE_S)
    trusted = ssl.create_default_context() if url.startswith("https:") else True
    return aiohttp.TCPConnector(ssl=trusted, limit=CONNECTIONS_MAX, keepalive_timeout=KEEP_ALIVE_S)
