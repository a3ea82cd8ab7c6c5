"""A client of one Ollama, around the package `ollama`, which nothing else here knows."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Final, TypeVar, cast

import ollama

from hubspoke.errors import EngineProtocol, EngineTimeout, EngineUnavailable, LoadFailed
from hubspoke.types import Embeddings, Finished, FinishReason, Usage
from spoke.engines import connection
from spoke.engines.connection import LOOK_TIMEOUT_S, MARKED, timeouts
from spoke.engines.format_check import FormatCheck
from spoke.engines.ollama import body as ollama_body
from spoke.engines.ollama import errors as ollama_errors
from spoke.engines.ollama import models as ollama_models
from spoke.engines.ollama import pull as ollama_pull
from spoke.engines.ollama.answer import Answer, count, sound
from spoke.engines.ollama.pull import Pull
from spoke.engines.vectors import batches, directions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping

    from hubspoke.errors import MeshError
    from hubspoke.types import Delta, EmbedRequest, Loaded, PullStep, Request
    from spoke.engines.json_text import Json
    from spoke.engines.ollama.models import Facts, Listed
    from spoke.engines.ollama.server import OllamaServer

SILENCE_S: Final = 600.0
"""The longest between two pieces of what Ollama sends. Loading, and checking what was pulled, take minutes in silence."""
FOREVER: Final = -1
AT_ONCE: Final = 0

Part = TypeVar("Part")


class OllamaClient:
    """Asks the Ollama at *server*. Every failure is a MeshError.

    With OLLAMA_API_KEY in the environment the package sends that key along, as `ollama` itself does.
    """

    def __init__(self, server: OllamaServer) -> None:
        self._server = server
        self._package = ollama.AsyncClient(
            server.url,
            headers=MARKED,
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

    async def load(self, model: str, context_tokens: int, *, embeds: bool) -> None:
        """Bring *model* into memory until `unload`, by the way that is open to it; raise LoadFailed when Ollama refuses it.

        One that *embeds* is loaded as Ollama does it for vectors, as every request for some would load it so anyway.
        """
        options = ollama_body.load_options(context_tokens)
        try:
            with _as_ours():
                if embeds:
                    await self._package.embed(model, [], options=options, keep_alive=FOREVER)
                else:
                    honest = options | _honest(may_shift=False)
                    await self._package.chat(model, [], options=honest, keep_alive=FOREVER)
        except EngineProtocol as error:
            raise LoadFailed("the engine refused the model; the spoke's log says why") from error

    async def unload(self, model: str) -> None:
        """Tell Ollama to let go of *model* once nothing runs on it; it is still there when this returns."""
        with _as_ours():
            async with _soon():
                await self._package.chat(model, [], keep_alive=AT_ONCE)

    async def generate(
        self, model: str, request: Request, context_tokens: int, *, may_shift: bool
    ) -> AsyncGenerator[Delta | Finished, None]:
        """Answer *request*: any number of deltas, then one `Finished`. Closing the generator closes the stream at once.

        *may_shift* says whether *model* was loaded so that it drops the beginning when its context is full.
        """
        options = ollama_body.request_options(request, context_tokens) | _honest(may_shift=may_shift)
        answer, check = Answer(request), FormatCheck(request.format)
        deltas = self._chat if request.messages else self._continue
        async with aclosing(deltas(model, request, options, answer)) as stream:
            async for delta in stream:
                check.read(delta)
                yield delta
        finished = answer.finished()
        check.finished(finished)
        yield finished

    async def embed(
        self, model: str, request: EmbedRequest, context_tokens: int
    ) -> AsyncGenerator[Embeddings | Finished, None]:
        """Turn texts into vectors, some at a time, then one `Finished`; raise ContextTooLong for a text that does not fit."""
        options = ollama_body.load_options(context_tokens)
        prompt_tokens = 0
        for first, texts in batches(request.inputs):
            with _as_ours():
                made = await self._package.embed(model, texts, truncate=False, options=options)
            prompt_tokens += count(made.prompt_eval_count, 0)
            yield Embeddings(
                first, directions(made.embeddings, texts=len(texts), dimensions=request.dimensions)
            )
        yield Finished(FinishReason.STOP, Usage(prompt_tokens=prompt_tokens, output_tokens=0))

    async def pull(self, model: str) -> AsyncGenerator[PullStep, None]:
        """Get *model* from where Ollama gets models. Closing the generator hangs up, and Ollama stops.

        Raise UnknownModel, Unsupported, InvalidRequest, EngineUnavailable when Ollama does not reach its library,
        EngineOutOfMemory when its disk is full, EngineTruncated, EngineTimeout.
        """
        ollama_pull.refuse(model)
        now_s = asyncio.get_running_loop().time
        pull = Pull(now_s())
        with _as_ours(ollama_errors.pull_refused):
            parts = await self._package.pull(model, stream=True)
            async with aclosing(_generator(parts)) as stream:
                async for part in stream:
                    step = pull.read(part, now_s())
                    if step is not None:
                        yield step
        pull.finish()

    async def delete(self, model: str) -> None:
        """Delete *model* from Ollama's disk; weights that another name shares stay. Raise UnknownModel."""
        with _as_ours():
            await self._package.delete(model)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._server.aclose()

    async def _chat(
        self, model: str, request: Request, options: Mapping[str, Json], answer: Answer
    ) -> AsyncGenerator[Delta, None]:
        said = {"messages": ollama_body.messages(request), "tools": ollama_body.tools(request)}
        with _as_ours():
            parts = await self._package.chat(
                model,
                stream=True,
                think=ollama_body.think(request),
                format=ollama_body.output_format(request.format),
                options={**options, **said},
            )
            async with aclosing(_generator(parts)) as stream:
                async for part in stream:
                    for delta in answer.chatted(part):
                        yield delta
                    if part.done:
                        break

    async def _continue(
        self, model: str, request: Request, options: Mapping[str, Json], answer: Answer
    ) -> AsyncGenerator[Delta, None]:
        with _as_ours():
            parts = await self._package.generate(
                model,
                request.prompt,
                raw=True,
                stream=True,
                think=False,  # or Ollama would look for thoughts in the text, and take them out of it
                format=ollama_body.output_format(request.format),
                options=options,
            )
            async with aclosing(_generator(parts)) as stream:
                async for part in stream:
                    for delta in answer.continued(part):
                        yield delta
                    if part.done:
                        break


def _honest(*, may_shift: bool) -> dict[str, Json]:
    """Let Ollama refuse a prompt that is too long, and end an answer with the context, instead of dropping text unsaid.

    Whether the context may shift belongs to a loaded model, so one that was loaded so is left as it is.
    """
    return {"truncate": False} if may_shift else {"truncate": False, "shift": False}


def _generator(parts: AsyncIterator[Part]) -> AsyncGenerator[Part, None]:
    """Say what the package's streams are: without being closed, they would keep the GPU busy."""
    return cast("AsyncGenerator[Part, None]", parts)


def _soon() -> asyncio.Timeout:
    return asyncio.timeout(LOOK_TIMEOUT_S)


@contextmanager
def _as_ours(read: Callable[[int, str], MeshError] = ollama_errors.refused) -> Iterator[None]:
    """Turn what the package raises into errors of the mesh, and what Ollama says as *read* does.

    The package lets garbage fail wherever that happens to.
    """
    try:
        with connection.as_ours():
            yield
    except ollama.ResponseError as error:
        raise read(error.status_code, sound(str(error.error))) from error
    except ConnectionError as error:
        raise EngineUnavailable("Ollama does not answer; is it running?") from error
    except TimeoutError as error:
        raise EngineTimeout(f"Ollama has not answered within {LOOK_TIMEOUT_S:g} s") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise EngineProtocol("Ollama sent something that makes no sense") from error
