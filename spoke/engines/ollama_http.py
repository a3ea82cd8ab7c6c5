"""A client of one Ollama, around the package `ollama`, which nothing else here knows."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Final, cast

import ollama

from hubspoke.errors import EngineProtocol, EngineTimeout, EngineUnavailable, LoadFailed
from spoke.engines import connection, ollama_body, ollama_errors, ollama_models
from spoke.engines.connection import LOOK_TIMEOUT_S, timeouts
from spoke.engines.ollama_answer import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from hubspoke.types import Delta, Finished, Loaded, Request
    from spoke.engines.ollama_models import Facts, Listed
    from spoke.engines.ollama_server import OllamaServer
    from spoke.engines.openai_body import Json

SILENCE_S: Final = 600.0
"""The longest between two pieces of an answer. Loading says nothing until it is done, which takes minutes."""
FOREVER: Final = -1
AT_ONCE: Final = 0


class OllamaClient:
    """Asks the Ollama at *server*. Every failure is a MeshError.

    With OLLAMA_API_KEY in the environment the package sends that key along, as `ollama` itself does.
    """

    def __init__(self, server: OllamaServer) -> None:
        self._server = server
        self._package = ollama.AsyncClient(
            server.url,
            transport=server.transport,
            timeout=timeouts(SILENCE_S),
            trust_env=False,
            follow_redirects=False,
        )

    async def version(self) -> str:
        """Say which Ollama this is; see `OllamaServer.version`."""
        return await self._server.version()

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
        await self._server.aclose()

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


def _honest(*, is_ours: bool) -> dict[str, Json]:
    """Let Ollama refuse a prompt that is too long, and end an answer with the context, instead of dropping text unsaid.

    Whether the context may shift belongs to a loaded model, so one that others have loaded is left as it is.
    """
    return {"truncate": False, "shift": False} if is_ours else {"truncate": False}


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
