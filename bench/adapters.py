"""Each engine adapter beside the engine that it adapts, both with the tiny model and in processes of their own."""

from __future__ import annotations

import asyncio
import secrets
import sys
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from bench.bare import Bare, Seen
from bench.processes import ROOT, free_port, listening, stop
from hubspoke.clock import SystemClock
from hubspoke.types import Delta, LoadPlan, Message, Request, Sampling, Speaker
from spoke.engines.llamacpp.build import Build
from spoke.engines.llamacpp.engine import EmbeddedEngine
from spoke.engines.llamacpp.launch import Ready, Serve
from spoke.engines.llamacpp.supervisor import start
from spoke.engines.ollama.engine import OllamaEngine
from spoke.engines.ollama.http import OllamaClient
from spoke.engines.ollama.server import OllamaServer
from spoke.engines.openai.engine import OpenAiEngine
from spoke.engines.openai.http import Endpoint
from spoke.gpu.none import NoGpus
from spoke.models.store import SHIPPED, ModelStore
from spoke.platform import here

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from spoke.engines.base import Engine
    from spoke.models.store import StoredModel

MODEL: Final = "tiny"
CONTEXT_TOKENS: Final = 2048
START_S_MAX: Final = 30.0

_OPENAI_BODY: Final = {"model": MODEL, "stream": True, "temperature": 0}
_OLLAMA_BODY: Final = {
    "model": MODEL,
    "options": {"temperature": 0, "num_ctx": CONTEXT_TOKENS, "num_predict": -1},
}


@dataclass(frozen=True, slots=True)
class Pair:
    """An adapter with its model loaded, and the same kind of engine without it, both with so many *slots*."""

    name: str
    engine: Engine
    bare: Bare
    slots: int

    async def ask(self, prompt: str) -> Seen:
        """Ask through the adapter, and read the answer to its end."""
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        first_s, tokens = 0.0, 0
        async with aclosing(self.engine.generate(MODEL, question(prompt))) as events:
            async for event in events:
                if isinstance(event, Delta):
                    first_s = first_s or loop.time() - began_at
                    tokens += event.tokens
        return Seen(first_s, loop.time() - began_at, tokens)


def question(prompt: str) -> Request:
    """Ask without chance involved."""
    return Request(MODEL, messages=(Message(Speaker.USER, prompt),), sampling=Sampling(temperature=0.0))


@asynccontextmanager
async def embedded(directory: Path, slots: int) -> AsyncIterator[Pair]:
    """Give the embedded engine, and a llama.cpp of the same settings on a unix socket of its own."""
    plan = LoadPlan(slots, CONTEXT_TOKENS)
    store = ModelStore([SHIPPED], directory / "embedded.json")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.aclose)
        clock = SystemClock()
        engine = EmbeddedEngine(
            store, plan=plan, platform=here(), clock=clock, build=Build(clock), cards=NoGpus()
        )
        stack.push_async_callback(engine.aclose)
        socket = directory / "bare.sock" if here().has_unix_sockets else None
        bare = await stack.enter_async_context(llama_server(store, slots, socket))
        await engine.load(MODEL, CONTEXT_TOKENS)
        yield Pair("embedded", engine, bare, slots)


@asynccontextmanager
async def openai(directory: Path, slots: int) -> AsyncIterator[Pair]:
    """Give the engine for OpenAI-compatible servers, and the llama-server that it asks."""
    store = ModelStore([SHIPPED], directory / "openai.json")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.aclose)
        bare = await stack.enter_async_context(llama_server(store, slots, None))
        endpoint = Endpoint(f"http://127.0.0.1:{bare.port}", bare.key)
        engine = OpenAiEngine("llama-server", endpoint, LoadPlan(slots, CONTEXT_TOKENS))
        stack.push_async_callback(engine.aclose)
        await engine.models()
        yield Pair("openai", engine, bare, slots)


@asynccontextmanager
async def ollama(_directory: Path, slots: int) -> AsyncIterator[Pair]:
    """Give the engine for Ollama, and the double of Ollama that it asks, for there is no real one here."""
    port = free_port()
    command = ("-m", "tests.fakes.ollama_program", "--port", str(port), "--slots", str(slots))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(partial(stop, process))
        await listening(process, port)
        client = OllamaClient(OllamaServer(f"http://127.0.0.1:{port}"))
        engine = OllamaEngine(client, plan=LoadPlan(slots, CONTEXT_TOKENS), gpus=NoGpus().probe)
        stack.push_async_callback(engine.aclose)
        await engine.load(MODEL, CONTEXT_TOKENS)
        bare = Bare(
            "/api/chat", {**_OLLAMA_BODY, "truncate": False, "shift": False}, b'"content": "', port=port
        )
        yield Pair("ollama", engine, bare, slots)


@asynccontextmanager
async def llama_server(
    store: ModelStore, slots: int, socket: Path | None, name: str = MODEL
) -> AsyncIterator[Bare]:
    """Run the tiny model on *socket*, or on a port of the loopback, and call it *name* there."""
    model = await _stored(store)
    key = secrets.token_hex()
    order = Serve(
        model=name,
        path=str(model.path),
        slots=slots,
        context_tokens=slots * CONTEXT_TOKENS,
        threads=1,
        api_key=key,
        socket="" if socket is None else str(socket),
    )
    child = await start(order, START_S_MAX)
    try:
        if not isinstance(child.reply, Ready):
            raise TypeError(f"llama-server did not start: {child.last_words()}")
        port = 0 if socket is not None else int(child.reply.url.rpartition(":")[2])
        yield Bare("/v1/chat/completions", _OPENAI_BODY, b'"content":"', port=port, socket=socket, key=key)
    finally:
        await child.stop()


async def _stored(store: ModelStore) -> StoredModel:
    return next(stored for stored in await store.models() if stored.name == MODEL)


Maker: TypeAlias = "Callable[[Path, int], AbstractAsyncContextManager[Pair]]"

ADAPTERS: Final[dict[str, Maker]] = {"embedded": embedded, "openai": openai, "ollama": ollama}
