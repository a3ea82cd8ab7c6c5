"""One model in memory: its process, the client that asks it, and what runs on it."""

from __future__ import annotations

import logging
import secrets
import shutil
import tempfile
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from hubspoke.errors import (
    EngineCrashed,
    EngineOverloaded,
    EngineProtocol,
    EngineTruncated,
    EngineUnavailable,
    ModelNotLoaded,
    Unsupported,
)
from hubspoke.types import Loaded
from spoke.engines.base import LOAD_TIMEOUT_S
from spoke.engines.llamacpp.launch import Ready, Serve
from spoke.engines.llamacpp.supervisor import start
from spoke.engines.openai.dialect import LLAMA_CPP
from spoke.engines.openai.http import Endpoint, OpenAiClient

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from hubspoke.types import Delta, Embeddings, EmbedRequest, Finished, LoadPlan, Request
    from spoke.engines.base import Cards
    from spoke.engines.json_text import Json
    from spoke.engines.llamacpp.supervisor import Child
    from spoke.models.store import StoredModel
    from spoke.platform import Platform

CRASH_NOTICE_S: Final = 1.0
"""How long after a connection broke the end of the process may show: a busy machine lets a process that dies wait, too."""
KEY_BYTES: Final = 32
SOCKET_NAME: Final = "engine.sock"
"""llama.cpp takes a host for a file by its ending."""
SOCKET_FOLDER_CHARACTERS_MAX: Final = 70
"""The whole path has at most 104 on macOS, and a few more elsewhere."""
ANY_HOST: Final = "http://engine"

log = logging.getLogger(__name__)


class Resident:
    """A loaded model. It takes as many requests as it has slots, and not one more."""

    def __init__(
        self, stored: StoredModel, child: Child, client: OpenAiClient, plan: LoadPlan, cards: Cards
    ) -> None:
        self._name = stored.name
        self._client = client
        self._cards = cards
        self._is_leaving = False
        self.stored = stored
        self.child = child
        self.plan = plan
        self.running = 0

    @property
    def loaded(self) -> Loaded:
        """Say what it takes up now: its process in main memory, and on the cards what their drivers tell."""
        vram_bytes = self._cards.vram_bytes(self.child.pid)
        return Loaded(
            self.plan.slots,
            self.plan.context_tokens,
            memory_bytes=_resident_bytes(self.child) + (vram_bytes or 0),
            vram_bytes=vram_bytes,
        )

    async def generate(self, request: Request) -> AsyncGenerator[Delta | Finished, None]:
        """Answer *request*; raise EngineOverloaded without a free slot, EngineCrashed when the process dies on it."""
        if not self.stored.header.thinks:
            request = replace(request, thinking=None)
        async with self._slot():
            events = self._client.generate(self._name, request, LLAMA_CPP, _extras(request))
            async with aclosing(events):
                async for event in events:
                    yield event

    async def embed(self, request: EmbedRequest) -> AsyncGenerator[Embeddings | Finished, None]:
        """Make vectors; raise as with `generate`, and Unsupported when the model makes none."""
        if not self.stored.header.makes_vectors:
            raise Unsupported(f"{self._name!r} makes no vectors; ask a model that does")
        async with self._slot():
            events = self._client.embed(self._name, request)
            async with aclosing(events):
                async for event in events:
                    yield event

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        """Take a slot for as long as this lasts, and find out whether a failure was the process's end."""
        if self._is_leaving:
            raise ModelNotLoaded(f"{self._name!r} was just taken out of memory")
        if self.running >= self.plan.slots:
            raise EngineOverloaded(f"all {self.plan.slots} slots of {self._name!r} are busy; try again soon")
        self.running += 1
        try:
            yield
        except (EngineTruncated, EngineUnavailable) as error:
            if self._is_leaving:
                raise EngineUnavailable("the engine is being stopped") from error
            if await self.child.exits_within(CRASH_NOTICE_S):
                raise EngineCrashed(
                    f"the engine of {self._name!r} died in the middle of the answer"
                ) from error
            raise
        finally:
            self.running -= 1

    async def aclose(self) -> None:
        """Take the model out of memory, whatever runs on it."""
        self._is_leaving = True
        await self.child.stop()
        await self._client.aclose()


async def bring(stored: StoredModel, plan: LoadPlan, platform: Platform, cards: Cards) -> Resident:
    """Start a process that has *stored* in memory; raise what `supervisor.start` raises."""
    key = secrets.token_hex(KEY_BYTES)
    async with AsyncExitStack() as undo:
        socket = _socket(platform)
        if socket is not None:
            undo.callback(_remove, socket)
        child = await start(
            Serve(
                model=stored.name,
                path=str(stored.path),
                slots=plan.slots,
                context_tokens=plan.slots * plan.context_tokens,
                threads=_threads(),
                api_key=key,
                socket="" if socket is None else str(socket),
                makes_vectors=stored.header.makes_vectors,
                projector="" if stored.projector is None else str(stored.projector),
            ),
            LOAD_TIMEOUT_S,
        )
        undo.push_async_callback(child.stop)
        if socket is not None:
            child.on_exit(lambda _: _remove(socket))
        if not isinstance(child.reply, Ready):
            raise EngineProtocol("the engine's process answered with something else than that it is ready")
        client = OpenAiClient(Endpoint(ANY_HOST if socket else child.reply.url, key, socket))
        undo.push_async_callback(client.aclose)
        await client.models()  # it lets us in
        resident = Resident(stored, child, client, plan, cards)
        log.info("model loaded", extra={"model": stored.name, "memory_bytes": resident.loaded.memory_bytes})
        undo.pop_all()
        return resident


def _socket(platform: Platform) -> Path | None:
    """Name a socket in a fresh directory that is nobody else's; None where there can be none."""
    if not platform.has_unix_sockets or len(tempfile.gettempdir()) > SOCKET_FOLDER_CHARACTERS_MAX:
        return None
    return Path(tempfile.mkdtemp(prefix="hubspoke-")) / SOCKET_NAME


def _remove(socket: Path) -> None:
    """Clean up after a child that crashed; others have done so themselves."""
    shutil.rmtree(socket.parent, ignore_errors=True)


def _resident_bytes(child: Child) -> int:
    """Ask the system what the process has in main memory: 0, which is unknown, once it has ended."""
    try:
        return psutil.Process(child.pid).memory_info().rss
    except psutil.NoSuchProcess:
        return 0


def _threads() -> int:
    """One core stays with the agent; hyper-threads only get into each other's way."""
    return max(1, (psutil.cpu_count(logical=False) or 1) - 1)


def _extras(request: Request) -> dict[str, Json]:
    """Say to llama.cpp what the OpenAI API has no words for.

    Answers from a reused prefix differ in the last digits, so who gives a seed gets none. The progress is a sign of
    life during a long prompt.
    """
    return {"cache_prompt": request.sampling.seed is None, "return_progress": True}
