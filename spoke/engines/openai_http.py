"""A client of any server of the OpenAI HTTP API, over TCP or a unix socket."""

from __future__ import annotations

import logging
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import httpx
import msgspec

from hubspoke.errors import MeshError
from spoke.engines import openai_body
from spoke.engines.connection import LOOK_TIMEOUT_S, as_ours, refuse_mesh, timeouts, transport
from spoke.engines.openai_answer import DONE, Answer
from spoke.engines.openai_errors import broken_off, refused
from spoke.engines.openai_models import Served, served
from spoke.engines.sse import ERROR, SseParser

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from pathlib import Path

    from hubspoke.types import Delta, Finished, Request
    from spoke.engines.openai_body import Json

SILENCE_S: Final = 300.0
"""The longest between two pieces of an answer; a long prompt on a slow processor takes minutes."""
LISTING_BYTES_MAX: Final = 4 * 1024 * 1024
ERROR_BYTES_MAX: Final = 64 * 1024
MODELS_PATH: Final = "/v1/models"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens: at *url*, or at *socket* when there is one; *api_key* may be empty."""

    url: str
    api_key: str = field(default="", repr=False)
    socket: Path | None = None


class OpenAiClient:
    """Asks one server. Every failure is a MeshError; what the server said of it goes to the log alone."""

    def __init__(self, endpoint: Endpoint) -> None:
        headers = {"Accept-Encoding": "identity", "Content-Type": "application/json"}
        if endpoint.api_key:
            headers["Authorization"] = f"Bearer {endpoint.api_key}"
        self._http = httpx.AsyncClient(
            base_url=endpoint.url,
            headers=headers,
            timeout=timeouts(SILENCE_S),
            transport=transport(endpoint.url, endpoint.socket),
            trust_env=False,
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

    async def models(self) -> tuple[Served, ...]:
        """List the models that the server has; this also tells whether it lets us in."""
        with as_ours():
            async with self._http.stream("GET", MODELS_PATH, timeout=timeouts(LOOK_TIMEOUT_S)) as response:
                await _checked(response)
                listing = await _beginning(response, LISTING_BYTES_MAX)
        return served(listing)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def _payloads(self, path: str, body: Mapping[str, Json]) -> AsyncGenerator[str, None]:
        content = msgspec.json.encode(body)
        parser = SseParser()
        with as_ours():
            async with self._http.stream("POST", path, content=content) as response:
                await _checked(response)
                async for received in response.aiter_raw():
                    for event in parser.feed(received):
                        if event.kind == ERROR:
                            raise broken_off(event.data.encode())
                        yield event.data


async def _checked(response: httpx.Response) -> None:
    """Raise what is wrong with an answer as far as it is known before its body: the server may be none, or refuse."""
    refuse_mesh(response.headers)
    if response.status_code != httpx.codes.OK:
        raise refused(response.status_code, await _beginning(response, ERROR_BYTES_MAX))


async def _beginning(response: httpx.Response, bytes_max: int) -> bytes:
    """Read as much of a body as anybody could want."""
    body = b""
    async for received in response.aiter_raw():
        body += received
        if len(body) >= bytes_max:
            break
    return body[:bytes_max]
