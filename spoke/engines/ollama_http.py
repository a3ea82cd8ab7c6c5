"""A client of one Ollama, around the package `ollama`, which nothing else here knows."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Final, cast

import httpx
import msgspec
import ollama

from hubspoke.errors import EngineProtocol, EngineTimeout, EngineUnavailable, LoadFailed
from spoke.engines import connection, ollama_body, ollama_errors, ollama_models
from spoke.engines.connection import LOOK_TIMEOUT_S, refuse_mesh, timeouts
from spoke.engines.ollama_answer import Answer
from spoke.engines.openai_models import is_name

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from hubspoke.types import Delta, Finished, Loaded, Request
    from spoke.engines.ollama_models import Facts, Listed
    from spoke.engines.openai_body import Json

SILENCE_S: Final = 600.0
"""The longest between two pieces of an answer. Loading says nothing until it is done, which takes minutes."""
LINE_BYTES_MAX: Final = 16 * 1024 * 1024
FOREVER: Final = -1
AT_ONCE: Final = 0
VERSION_PATH: Final = "/api/version"

_BESIDE_OPTIONS: Final = ("truncate", "shift")


class _Version(msgspec.Struct):
    version: str


class OllamaClient:
    """Asks the Ollama at *url*. Every failure is a MeshError.

    With OLLAMA_API_KEY in the environment the package sends that key along, as `ollama` itself does.
    """

    def __init__(self, url: str) -> None:
        self._transport = _Transport(url)
        self._http = httpx.AsyncClient(
            base_url=url, transport=self._transport, timeout=timeouts(LOOK_TIMEOUT_S), trust_env=False
        )
        self._package = ollama.AsyncClient(
            url,
            transport=self._transport,
            timeout=timeouts(SILENCE_S),
            trust_env=False,
            follow_redirects=False,
        )

    async def version(self) -> str:
        """Say which Ollama this is; raise EngineProtocol when it is something else."""
        with _as_ours():
            async with _soon():
                response = await self._http.get(VERSION_PATH)
        if response.status_code != httpx.codes.OK:
            raise EngineProtocol(f"what answers there is no Ollama (HTTP {response.status_code})")
        try:
            version = msgspec.json.decode(response.content, type=_Version).version
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise EngineProtocol("what answers there is no Ollama") from error
        return version if is_name(version) else ""

    async def listed(self) -> tuple[Listed, ...]:
        """List the models on its disk."""
        with _as_ours():
            async with _soon():
                listing = await self._package.list()
        return ollama_models.listed(listing)

    async def loaded(self, slots: int, expected: dict[str, int]) -> dict[str, Loaded]:
        """Say what is in memory; see `ollama_models.loaded`."""
        with _as_ours():
            async with _soon():
                processes = await self._package.ps()
        return ollama_models.loaded(processes, slots, expected)

    async def facts(self, model: str) -> Facts:
        """Say what *model* is; raise UnknownModel."""
        with _as_ours():
            async with _soon():
                shown = await self._package.show(model)
        return ollama_models.facts(shown)

    async def load(self, model: str, context_tokens: int) -> None:
        """Bring *model* into memory until `unload`; raise LoadFailed when Ollama refuses it."""
        options = ollama_body.load_options(context_tokens) | _honest(is_ours=True)
        try:
            with _as_ours():
                await self._package.chat(model, [], options=options, keep_alive=FOREVER)
        except EngineProtocol as error:
            raise LoadFailed("the engine refused the model; the spoke's log says why") from error

    async def unload(self, model: str) -> None:
        """Tell Ollama to let go of *model* once nothing runs on it; it is still there when this returns."""
        with _as_ours():
            async with _soon():
                await self._package.chat(model, [], keep_alive=AT_ONCE)

    async def generate(
        self, model: str, request: Request, context_tokens: int, *, is_ours: bool
    ) -> AsyncGenerator[Delta | Finished, None]:
        """Answer *request*: any number of deltas, then one `Finished`. Closing the generator closes the stream at once.

        *is_ours* says whether `load` has brought the model into memory, as against somebody else.
        """
        options = ollama_body.request_options(request, context_tokens) | _honest(is_ours=is_ours)
        answer = Answer()
        asked = self._chat if request.messages else self._continue
        async with aclosing(asked(model, request, options)) as parts:
            async for part in parts:
                text = part.message.content if isinstance(part, ollama.ChatResponse) else part.response
                delta = answer.read(part, text)
                if delta is not None:
                    yield delta
                if part.done:
                    break
        yield answer.finished()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()  # and with it the transport, which is the package's too

    async def _chat(
        self, model: str, request: Request, options: dict[str, Json]
    ) -> AsyncGenerator[ollama.ChatResponse | ollama.GenerateResponse, None]:
        with _as_ours():
            turns = ollama_body.messages(request)
            parts = await self._package.chat(model, turns, stream=True, options=options)
            async with aclosing(_generator(parts)) as stream:
                async for part in stream:
                    yield part

    async def _continue(
        self, model: str, request: Request, options: dict[str, Json]
    ) -> AsyncGenerator[ollama.ChatResponse | ollama.GenerateResponse, None]:
        with _as_ours():
            prompt = request.prompt
            parts = await self._package.generate(model, prompt, raw=True, stream=True, options=options)
            async with aclosing(_generator(parts)) as stream:
                async for part in stream:
                    yield part


class _Transport(httpx.AsyncBaseTransport):
    """The connection below the package: puts in what the package has no words for, and looks at what comes back."""

    def __init__(self, url: str) -> None:
        self._inner = connection.transport(url)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(_completed(request))
        try:
            refuse_mesh(response.headers)
        except EngineProtocol:
            await response.aclose()
            raise
        response.stream = _Lines(cast("httpx.AsyncByteStream", response.stream))
        return response

    async def aclose(self) -> None:
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


def _honest(*, is_ours: bool) -> dict[str, Json]:
    """Let Ollama refuse a prompt that is too long, and end an answer with the context, instead of dropping text unsaid.

    Whether the context may shift belongs to a loaded model, so one that others have loaded is left as it is.
    """
    return {"truncate": False, "shift": False} if is_ours else {"truncate": False}


def _completed(request: httpx.Request) -> httpx.Request:
    """Put what stands beside Ollama's options there: the package lets such fields travel only among them."""
    if request.method != "POST":
        return request
    body = msgspec.json.decode(request.content, type=dict[str, msgspec.Raw])
    if "options" not in body:
        return request
    options = msgspec.json.decode(body["options"], type=dict[str, msgspec.Raw])
    for name in _BESIDE_OPTIONS:
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


def _generator(
    parts: AsyncIterator[ollama.ChatResponse] | AsyncIterator[ollama.GenerateResponse],
) -> AsyncGenerator[ollama.ChatResponse | ollama.GenerateResponse, None]:
    """Say what the package's streams are: without being closed, they would keep the GPU busy."""
    return cast("AsyncGenerator[ollama.ChatResponse | ollama.GenerateResponse, None]", parts)


def _soon() -> asyncio.Timeout:
    return asyncio.timeout(LOOK_TIMEOUT_S)


@contextmanager
def _as_ours() -> Iterator[None]:
    """Turn what the package raises into errors of the mesh. It lets garbage fail wherever that happens to."""
    try:
        with connection.as_ours():
            yield
    except ollama.ResponseError as error:
        raise ollama_errors.refused(error.status_code, str(error.error)) from error
    except ConnectionError as error:
        raise EngineUnavailable("Ollama does not answer; is it running?") from error
    except TimeoutError as error:
        raise EngineTimeout(f"Ollama has not answered within {LOOK_TIMEOUT_S:g} s") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise EngineProtocol("Ollama sent something that makes no sense") from error
