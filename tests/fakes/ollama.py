"""A double of Ollama's HTTP API whose tokens are real: the shipped models run behind it in the embedded engine.

It does what Ollama 0.33 was read to do (its docs, `server/routes.go` and `server/sched.go`), also where that is
inconvenient: it streams unless told not to, adds `:latest`, loads a model anew when `num_ctx` or `shift` differ, queues
in silence, cuts prompts unless told not to, and ends the work of whoever hangs up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto

from hubspoke.errors import ContextTooLong
from hubspoke.types import Delta, Finished, Message, Request, Sampling, Speaker
from spoke.engines.llamacpp import EmbeddedEngine
from spoke.models.store import ModelStore, StoredModel

VERSION = "0.33.0"
CONTEXT_STEP = 256
DEFAULT_CONTEXT = 2048
DEFAULT_KEEP_ALIVE_S = 300.0
NOT_FOUND = "model '{}' not found"
SHAPES = {"tiny": {"block_count": 4, "embedding_length": 128, "attention.head_count": 4},
          "nano": {"block_count": 3, "embedding_length": 96, "attention.head_count": 3}}  # fmt: skip


class Fault(Enum):
    """What goes wrong in the middle of an answer."""

    TRUNCATE = auto()  # a proper end of the body, and no `done`
    GARBAGE = auto()
    NO_OBJECT = auto()
    ERROR = auto()  # a line that says so
    KILL = auto()  # the connection breaks
    HANG = auto()


@dataclass(slots=True)
class Runner:
    """A loaded model."""

    context_tokens: int
    shift: bool
    keep_alive_s: float
    memory_bytes: int
    queue: asyncio.Semaphore
    busy: int = 0
    expiry: asyncio.TimerHandle | None = None


@dataclass(slots=True, eq=False)
class Refusal(Exception):
    """An answer with an error."""

    status: int
    said: str


Reply = dict[str, object] | AsyncIterator[dict[str, object]]


@dataclass(slots=True)
class OllamaDouble:
    """The server's state. Tests read what was asked, and set what goes wrong."""

    engine: EmbeddedEngine
    store: ModelStore
    parallel: int = 2
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    fault: Fault | None = None
    refusal: Refusal | None = None
    refused_routes: frozenset[str] = frozenset()  # all of them when empty
    hidden: set[str] = field(default_factory=set)
    extra: list[dict[str, object]] = field(default_factory=list)
    asked: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    loads: list[tuple[str, int]] = field(default_factory=list)
    runners: dict[str, Runner] = field(default_factory=dict)
    answering: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    # What it has.

    async def tags(self, _body: dict[str, object]) -> Reply:
        return {"models": [*(self._listed(stored) for stored in await self._stored()), *self.extra]}

    async def ps(self, _body: dict[str, object]) -> Reply:
        models = []
        for stored in await self._stored():
            runner = self.runners.get(stored.name)
            if runner is not None:
                kept_s = runner.keep_alive_s if runner.keep_alive_s >= 0 else 10**9
                expires_at = datetime.now(UTC) + timedelta(seconds=kept_s)
                known = self._listed(stored)
                known |= {
                    "size": runner.memory_bytes,
                    "size_vram": 0,
                    "context_length": runner.context_tokens,
                }
                models.append(known | {"expires_at": expires_at.isoformat()})
        return {"models": models}

    async def show(self, body: dict[str, object]) -> Reply:
        stored = await self._find(body)
        header = stored.header
        info = {f"llama.{name}": value for name, value in SHAPES[stored.name].items()}
        info |= {"general.architecture": header.architecture, "general.parameter_count": header.parameters}
        info |= {"llama.context_length": header.context_tokens_max, "tokenizer.ggml.tokens": None}
        details = self._listed(stored)["details"]
        return {
            "template": "{{ .Prompt }}",
            "details": details,
            "model_info": info,
            "capabilities": ["completion"],
        }

    async def version(self, _body: dict[str, object]) -> Reply:
        return {"version": VERSION}

    async def embed(self, _body: dict[str, object]) -> Reply:
        raise Refusal(501, "this model does not support embeddings")

    async def pull(self, body: dict[str, object]) -> Reply:
        known = {stored.name for stored in await self._stored()}

        async def progress() -> AsyncIterator[dict[str, object]]:
            yield {"status": "pulling manifest"}
            yield (
                {"status": "success"}
                if self._name(body) in known
                else {"error": "pull model manifest: file does not exist"}
            )

        return progress()

    def _listed(self, stored: StoredModel) -> dict[str, object]:
        header = stored.header
        details = {
            "format": "gguf",
            "family": header.architecture,
            "families": [header.architecture],
            "parameter_size": f"{header.parameters / 1e6:.2f}M",
            "quantization_level": header.quantisation,
        }
        name = f"{stored.name}:latest"
        digest = stored.digest.removeprefix("sha256:")
        return {"name": name, "model": name, "digest": digest, "size": stored.size_bytes, "details": details}

    async def _stored(self) -> list[StoredModel]:
        return [stored for stored in await self.store.models() if stored.name not in self.hidden]

    async def _find(self, body: dict[str, object]) -> StoredModel:
        for stored in await self._stored():
            if stored.name == self._name(body):
                return stored
        raise Refusal(404, NOT_FOUND.format(body.get("model")))

    @staticmethod
    def _name(body: dict[str, object]) -> str:
        return str(body.get("model", "")).removesuffix(":latest")

    # Memory.

    async def _runner(self, stored: StoredModel, body: dict[str, object]) -> Runner:
        """Give the runner that fits the request; load the model, anew if its options differ."""
        options = body.get("options") or {}
        wanted = min(int(options.get("num_ctx", DEFAULT_CONTEXT)), stored.header.context_tokens_max)
        shift = bool(body.get("shift", True))
        async with self.turn:
            runner = self.runners.get(stored.name)
            if runner is not None and (runner.context_tokens, runner.shift) != (wanted, shift):
                await self._drop(stored.name)
                runner = None
            if runner is None:
                loaded = await self.engine.load(stored.name, wanted)
                self.loads.append((stored.name, wanted))
                queue = asyncio.Semaphore(self.parallel)
                runner = Runner(
                    loaded.context_tokens, shift, DEFAULT_KEEP_ALIVE_S, loaded.memory_bytes, queue
                )
                self.runners[stored.name] = runner
        if "keep_alive" in body:
            runner.keep_alive_s = float(body["keep_alive"])
        self._rest(stored.name, runner)
        return runner

    def _rest(self, name: str, runner: Runner) -> None:
        """Let the time run after which an idle model goes."""
        if runner.expiry is not None:
            runner.expiry.cancel()
        if runner.keep_alive_s >= 0 and not runner.busy:
            loop = asyncio.get_running_loop()
            runner.expiry = loop.call_later(runner.keep_alive_s, self.runners.pop, name, None)

    async def _drop(self, name: str) -> None:
        self.runners.pop(name, None)
        await self.engine.unload(name)

    # Answers.

    async def chat(self, body: dict[str, object]) -> Reply:
        turns = tuple(Message(Speaker(turn["role"]), turn["content"]) for turn in body.get("messages") or ())
        return await self._answer(body, Request("", messages=turns), _chat_part)

    async def generate(self, body: dict[str, object]) -> Reply:
        prompt = str(body.get("prompt", ""))
        request = Request("", prompt=prompt)
        if prompt and not body.get("raw"):
            request = Request("", messages=(Message(Speaker.USER, prompt),))
        return await self._answer(body, request, _generate_part)

    async def _answer(
        self, body: dict[str, object], request: Request, part: Callable[[str], dict[str, object]]
    ) -> Reply:
        stored = await self._find(body)
        asks = bool(request.messages or request.prompt)
        if not asks and body.get("keep_alive") == 0:
            await self._drop(stored.name)
            return part("") | {"done": True, "done_reason": "unload"}
        runner = await self._runner(stored, body)
        if not asks:
            return part("") | {"done": True, "done_reason": "load"}
        request = _with_options(request, body)
        if body.get("truncate", True):
            request = await self._cut(stored.name, request)
        lines = self._lines(stored.name, runner, request, part)
        if body.get("stream", True):
            return lines
        return await _whole(lines)

    async def _lines(
        self, name: str, runner: Runner, request: Request, part: Callable[[str], dict[str, object]]
    ) -> AsyncIterator[dict[str, object]]:
        runner.busy += 1
        self.answering += 1
        self.idle.clear()
        try:
            async with runner.queue, aclosing(self.engine.generate(name, request)) as events:
                async for event in events:
                    yield (
                        part(event.text) | {"done": False}
                        if isinstance(event, Delta)
                        else part("") | _end(event)
                    )
        finally:
            runner.busy -= 1
            self.answering -= 1
            if not self.answering:
                self.idle.set()
            self._rest(name, runner)

    async def _cut(self, name: str, request: Request) -> Request:
        """Drop the beginning of a prompt until it fits, in silence, as Ollama does unless told not to."""
        while True:
            try:
                probe = replace(request, max_output_tokens=1)
                async with aclosing(self.engine.generate(name, probe)) as events:
                    await anext(events)
            except ContextTooLong:
                last = request.messages[-1]
                request = replace(request, messages=(replace(last, text=last.text[len(last.text) // 2 :]),))
            else:
                return request


def _with_options(request: Request, body: dict[str, object]) -> Request:
    options = body.get("options") or {}
    names = ("temperature", "top_p", "top_k", "min_p", "seed")
    limit = int(options.get("num_predict", -1))
    return replace(
        request,
        sampling=Sampling(**{name: options[name] for name in names if name in options}),
        max_output_tokens=max(limit, 0),
        stop=tuple(options.get("stop", ())),
    )


def _chat_part(text: str) -> dict[str, object]:
    return {"model": "m", "created_at": "", "message": {"role": "assistant", "content": text}}


def _generate_part(text: str) -> dict[str, object]:
    return {"model": "m", "created_at": "", "response": text}


def _end(finished: Finished) -> dict[str, object]:
    usage = finished.usage
    return {
        "done": True,
        "done_reason": finished.reason.value,
        "prompt_eval_count": usage.prompt_tokens,
        "prompt_eval_duration": int((usage.prompt_s or 0) * 1e9),
        "eval_count": usage.output_tokens,
        "eval_duration": int((usage.decode_s or 0) * 1e9),
    }


async def _whole(lines: AsyncIterator[dict[str, object]]) -> dict[str, object]:
    """Put a stream together, for whoever did not want one."""
    text, last = "", {}
    async for last in lines:
        text += last.get("response") or last.get("message", {}).get("content", "")
    key = {"response": text} if "response" in last else {"message": {"role": "assistant", "content": text}}
    return last | key
