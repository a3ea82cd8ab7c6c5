"""A client of any server of the OpenAI HTTP API, over TCP or a unix socket."""

from __future__ import annotations

import logging
import ssl
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import httpx
import msgspec

from hubspoke.errors import (
    EngineOverloaded,
    EngineProtocol,
    EngineTimeout,
    EngineTruncated,
    EngineUnavailable,
    MeshError,
)
from spoke.engines import openai_body
from spoke.engines.openai_answer import DONE, Answer
from spoke.engines.openai_errors import broken_off, refused
from spoke.engines.sse import ERROR, SseParser

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping
    from pathlib import Path

    from hubspoke.types import Delta, Finished, Request
    from spoke.engines.openai_body import Json

CONNECT_TIMEOUT_S: Final = 2.0
WRITE_TIMEOUT_S: Final = 30.0
READ_TIMEOUT_S: Final = 300.0
"""The longest silence between two pieces of an answer; a long prompt on a slow processor takes minutes."""
POOL_TIMEOUT_S: Final = 2.0
CONNECTIONS_MAX: Final = 256
ERROR_BYTES_MAX: Final = 64 * 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens: at *url*, or at *socket* when there is one; *api_key* may be empty."""

    url: str
    api_key: str = field(default="", repr=False)
    socket: Path | None = None


class _ListedModel(msgspec.Struct):
    id: str


class _Listed(msgspec.Struct):
    data: list[_ListedModel]


class OpenAiClient:
    """Asks one server. Every failure is a MeshError; what the server said of it goes to the log alone."""

    def __init__(self, endpoint: Endpoint) -> None:
        headers = {"Accept-Encoding": "identity", "Content-Type": "application/json"}
        if endpoint.api_key:
            headers["Authorization"] = f"Bearer {endpoint.api_key}"
        self._http = httpx.AsyncClient(
            base_url=endpoint.url,
            headers=headers,
            timeout=httpx.Timeout(
                connect=CONNECT_TIMEOUT_S, write=WRITE_TIMEOUT_S, read=READ_TIMEOUT_S, pool=POOL_TIMEOUT_S
            ),
            transport=_transport(endpoint),
            trust_env=False,  # a proxy for the web is not meant for an engine
        )

    async def generate(
        self, model: str, request: Request, extras: Mapping[str, Json]
    ) -> AsyncGenerator[Delta | Finished, None]:
        """Answer *request*: any number of deltas, then one `Finished`. Closing the generator closes the stream at once.

        *extras* go into the body for servers that know more than the API.
        """
        call = openai_body.streamed(model, request)
        answer = Answer()
        try:
            async with aclosing(self._payloads(call.path, {**call.body, **extras})) as payloads:
                async for payload in payloads:
                    if payload == DONE:
                        break
                    delta = answer.read(payload)
                    if delta is not None:
                        yield delta
            finished = answer.finished()
        except MeshError as error:
            notes = getattr(error, "__notes__", [])
            log.warning("engine failed", extra={"reason": error.reason, "detail": " ".join(notes)})
            raise
        yield finished

    async def model_ids(self) -> tuple[str, ...]:
        """List the models that the server has; this also tells whether it lets us in."""
        with _as_ours():
            response = await self._http.get("/v1/models")
        if response.status_code != httpx.codes.OK:
            raise refused(response.status_code, response.content)
        try:
            listed = msgspec.json.decode(response.content, type=_Listed)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise EngineProtocol("the engine's list of models makes no sense") from error
        return tuple(model.id for model in listed.data)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def _payloads(self, path: str, body: Mapping[str, Json]) -> AsyncGenerator[str, None]:
        content = msgspec.json.encode(body)
        parser = SseParser()
        with _as_ours():
            async with self._http.stream("POST", path, content=content) as response:
                if response.status_code != httpx.codes.OK:
                    raise refused(response.status_code, await _beginning(response))
                async for received in response.aiter_raw():
                    for event in parser.feed(received):
                        if event.kind == ERROR:
                            raise broken_off(event.data.encode())
                        yield event.data


def _transport(endpoint: Endpoint) -> httpx.AsyncHTTPTransport:
    return httpx.AsyncHTTPTransport(
        # Trusts nobody: all servers so far are on this machine and speak no TLS. It also saves loading every CA.
        verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        # A connection for each request: llama.cpp closes idle ones without a word, and a request may run into that.
        limits=httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=0),
        trust_env=False,
        uds=None if endpoint.socket is None else str(endpoint.socket),
    )


async def _beginning(response: httpx.Response) -> bytes:
    """Read as much of an error as anybody could want."""
    body = b""
    async for received in response.aiter_raw():
        body += received
        if len(body) >= ERROR_BYTES_MAX:
            break
    return body[:ERROR_BYTES_MAX]


@contextmanager
def _as_ours() -> Iterator[None]:
    """Turn what can happen to a connection into errors of the mesh."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise EngineUnavailable("the engine does not answer; is it running?") from error
    except httpx.PoolTimeout as error:
        raise EngineOverloaded("the engine has no connection free; try again soon") from error
    except httpx.TimeoutException as error:
        raise EngineTimeout(f"the engine said nothing for {READ_TIMEOUT_S:g} s") from error
    except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
        raise EngineTruncated("the engine closed the connection in the middle of its answer") from error
    except (httpx.ProtocolError, httpx.DecodingError) as error:
        raise EngineProtocol("the engine does not speak HTTP as it should") from error
