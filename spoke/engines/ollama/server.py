"""What listens at the address of Ollama, as far as the package `ollama` is not needed to find out.

The package takes half a second to import and 12 MB, which a spoke without Ollama is spared.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

import httpx
import msgspec

from hubspoke.errors import EngineProtocol, EngineTimeout
from spoke.engines import connection
from spoke.engines.connection import LOOK_TIMEOUT_S, MARKED, as_ours, refuse_mesh, timeouts
from spoke.engines.json_text import NOT_JSON
from spoke.engines.openai.models import is_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LINE_BYTES_MAX: Final = 16 * 1024 * 1024
VERSION_PATH: Final = "/api/version"
BESIDE_OPTIONS: Final = ("messages", "tools", "truncate", "shift")
"""Fields of a request for which the package has no words, or too few. They travel among the options, and are put in
place here. Of messages it would drop the ids of calls, of tools whatever a schema has below its first level."""


class _Version(msgspec.Struct):
    version: str


class OllamaServer:
    """The server at *url*, and the way there, which the package takes too."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.transport = OllamaTransport(url)
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=MARKED,
            transport=self.transport,
            timeout=timeouts(LOOK_TIMEOUT_S),
            trust_env=False,
        )

    async def version(self) -> str:
        """Say which Ollama this is.

        Raise EngineUnavailable or EngineTimeout when nothing answers, EngineProtocol when it is something else.
        """
        try:
            with as_ours():
                async with asyncio.timeout(LOOK_TIMEOUT_S):
                    response = await self._http.get(VERSION_PATH)
        except TimeoutError as error:
            raise EngineTimeout(f"Ollama has not answered within {LOOK_TIMEOUT_S:g} s") from error
        if response.status_code != httpx.codes.OK:
            raise EngineProtocol(f"what answers there is no Ollama (HTTP {response.status_code})")
        try:
            version = msgspec.json.decode(response.content, type=_Version).version
        except NOT_JSON as error:
            raise EngineProtocol("what answers there is no Ollama") from error
        return version if is_name(version) else ""

    async def aclose(self) -> None:
        """Close every connection, the package's too."""
        await self._http.aclose()


class OllamaTransport(httpx.AsyncBaseTransport):
    """The connection below the package: puts in what the package has no words for, and looks at what comes back."""

    def __init__(self, url: str) -> None:
        self._inner = connection.transport(url)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Ask; raise EngineProtocol when a mesh answers."""
        response = await self._inner.handle_async_request(_completed(request))
        try:
            refuse_mesh(response.headers)
        except EngineProtocol:
            await response.aclose()
            raise
        response.stream = _Lines(cast("httpx.AsyncByteStream", response.stream))
        return response

    async def aclose(self) -> None:
        """Close every connection."""
        await self._inner.aclose()


class _Lines(httpx.AsyncByteStream):
    """A body whose lines have a limit, as the package has none."""

    def __init__(self, inner: httpx.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        line_bytes = 0
        async for received in self._inner:
            end = received.rfind(b"\n")
            line_bytes = len(received) - end - 1 if end >= 0 else line_bytes + len(received)
            if line_bytes > LINE_BYTES_MAX:
                raise EngineProtocol(f"the engine sent a line of more than {LINE_BYTES_MAX} bytes")
            yield received

    async def aclose(self) -> None:
        await self._inner.aclose()


def _completed(request: httpx.Request) -> httpx.Request:
    """Put what stands beside Ollama's options there: the package lets such fields travel only among them."""
    if request.method != "POST":
        return request
    body = msgspec.json.decode(request.content, type=dict[str, msgspec.Raw])
    if "options" not in body:
        return request
    options = msgspec.json.decode(body["options"], type=dict[str, msgspec.Raw])
    for name in BESIDE_OPTIONS:
        if name in options:
            body[name] = options.pop(name)
    body["options"] = msgspec.Raw(msgspec.json.encode(options))
    headers = [(name, value) for name, value in request.headers.raw if name.lower() != b"content-length"]
    return httpx.Request(
        request.method,
        request.url,
        headers=headers,
        content=msgspec.json.encode(body),
        extensions=request.extensions,
    )
