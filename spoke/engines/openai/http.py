"""A client of any server of the OpenAI HTTP API, over TCP or a unix socket."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from hubspoke.errors import EngineProtocol, EngineUnavailable, MeshError
from hubspoke.types import Embeddings, Finished, FinishReason, Usage
from spoke.engines.connection import LOOK_TIMEOUT_S, MARKED, refuse_mesh, told_to_log
from spoke.engines.format_check import FormatCheck, check_calls
from spoke.engines.openai import body as openai_body
from spoke.engines.openai import props as openai_props
from spoke.engines.openai import vectors as openai_vectors
from spoke.engines.openai.answer import DONE, Answer
from spoke.engines.openai.dialect import LLAMA_CPP
from spoke.engines.openai.errors import broken_off, refused
from spoke.engines.openai.models import Served, served
from spoke.engines.sse import ERROR, SseParser
from spoke.engines.vectors import batches, directions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping
    from pathlib import Path

    from aiohttp import ClientResponse

    from hubspoke.types import Delta, EmbedRequest, Request
    from spoke.engines.json_text import Json
    from spoke.engines.openai.dialect import Dialect

SILENCE_S: Final = 300.0
"""The longest between two pieces of an answer; a long prompt on a slow processor takes minutes."""
LISTING_BYTES_MAX: Final = 4 * 1024 * 1024
ERROR_BYTES_MAX: Final = 64 * 1024
WHOLE_BYTES_MAX: Final = 64 * 1024 * 1024
"""A batch of the longest vectors there are, written out, takes half of it."""
MODELS_PATH: Final = "/v1/models"
OK: Final = 200


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens: at *url*, or at *socket* when there is one; *api_key* may be empty."""

    url: str
    api_key: str = field(default="", repr=False)
    socket: Path | None = None


class OpenAiClient:
    """Asks one server. Every failure is a MeshError; what the server said of it goes to the log alone."""

    def __init__(self, endpoint: Endpoint) -> None:
        from spoke.engines.openai import connections  # noqa: PLC0415  # aiohttp is large; see there

        headers = {**MARKED, "Accept-Encoding": "identity", "Content-Type": "application/json"}
        if endpoint.api_key:
            headers["Authorization"] = f"Bearer {endpoint.api_key}"
        self._connections = connections.Connections(endpoint.url, endpoint.socket, headers)
        self._read_to_end = connections.read_to_end

    async def generate(
        self, model: str, request: Request, dialect: Dialect, extras: Mapping[str, Json]
    ) -> AsyncGenerator[Delta | Finished, None]:
        """Answer *request*: any number of deltas, then one `Finished`. Closing the generator closes the stream at once.

        *extras* go into the body for servers that know more than the API. What the answer has to be is checked before
        `Finished`, and InvalidOutput raised when it is not; InvalidRequest before the server is asked at all.
        """
        call = openai_body.streamed(model, request, dialect)
        check = FormatCheck(request.format)
        answer = Answer(request.stop)
        with told_to_log():
            async with aclosing(self._payloads(call.path, {**call.body, **extras})) as payloads:
                async for payload in payloads:
                    for delta in answer.read(payload):
                        check.read(delta)
                        yield delta
            missing, finished = answer.finished()
            for delta in missing:
                yield delta
            check_calls(request.tool_choice, answer.called, finished)
            check.finished(finished)
        yield finished

    async def embed(self, model: str, request: EmbedRequest) -> AsyncGenerator[Embeddings | Finished, None]:
        """Turn texts into vectors, a batch at a time, then give one `Finished`. Closing the generator ends the batch."""
        tokens = 0
        with told_to_log():
            for first, texts in batches(request.inputs):
                body = openai_vectors.body(model, texts)
                made = openai_vectors.made(await self._whole(openai_vectors.PATH, body))
                tokens += made.prompt_tokens
                vectors = directions(made.vectors, texts=len(texts), dimensions=request.dimensions)
                yield Embeddings(first, vectors)
        yield Finished(FinishReason.STOP, Usage(prompt_tokens=tokens, output_tokens=0))

    async def models(self) -> tuple[Served, ...]:
        """List the models that the server has; this also tells whether it lets us in."""
        listed = served(await self._looked(MODELS_PATH))
        if len(listed) != 1 or listed[0].dialect is not LLAMA_CPP:
            return listed
        try:
            return (openai_props.told(listed[0], await self._looked(openai_props.PATH)),)
        except MeshError:  # they can be switched off
            return listed

    async def aclose(self) -> None:
        """Close every connection."""
        await self._connections.aclose()

    async def _looked(self, path: str) -> bytes:
        """Ask a question that needs no model."""
        async with self._connections.asked("GET", path, None, LOOK_TIMEOUT_S) as response:
            await _checked(response)
            return await _beginning(response, LISTING_BYTES_MAX)

    async def _whole(self, path: str, body: Mapping[str, Json]) -> bytes:
        """Ask for something that comes in one piece."""
        async with self._asked(path, body) as response:
            whole = await _beginning(response, WHOLE_BYTES_MAX)
        if len(whole) >= WHOLE_BYTES_MAX:
            raise EngineProtocol(f"the engine's answer is larger than {WHOLE_BYTES_MAX} bytes")
        return whole

    async def _payloads(self, path: str, body: Mapping[str, Json]) -> AsyncGenerator[str, None]:
        """Ask for a stream, and give the data of its events up to the mark of its end, if it has one."""
        parser = SseParser()
        async with self._asked(path, body) as response:
            async for received in response.content.iter_any():
                for event in parser.feed(received):
                    if event.kind == ERROR:
                        raise broken_off(event.data.encode())
                    if event.data == DONE:
                        await self._read_to_end(response)
                        return
                    yield event.data

    @asynccontextmanager
    async def _asked(self, path: str, body: Mapping[str, Json]) -> AsyncIterator[ClientResponse]:
        """Send a request, and give the answer once it has begun well."""
        if self._connections.is_closed:
            raise EngineUnavailable("the engine is being stopped")
        content = msgspec.json.encode(body)
        async with self._connections.asked("POST", path, content, SILENCE_S) as response:
            await _checked(response)
            yield response


async def _checked(response: ClientResponse) -> None:
    """Raise what is wrong with an answer as far as it is known before its body: the server may be none, or refuse."""
    refuse_mesh(response.headers)
    if response.status != OK:
        raise refused(response.status, await _beginning(response, ERROR_BYTES_MAX))


async def _beginning(response: ClientResponse, bytes_max: int) -> bytes:
    """Read as much of a body as anybody could want."""
    body = bytearray()
    async for received in response.content.iter_any():
        body += received
        if len(body) >= bytes_max:
            break
    return bytes(body[:bytes_max])
