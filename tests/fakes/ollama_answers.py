"""What the double of Ollama says: conversations, raw prompts and vectors."""

from __future__ import annotations

import hashlib
import json
import math
import re
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from hubspoke.errors import ContextTooLong
from hubspoke.types import (
    Capability,
    Delta,
    Effort,
    Embeddings,
    EmbedRequest,
    Finished,
    Image,
    JsonFormat,
    Message,
    Request,
    Sampling,
    Speaker,
    Tool,
    ToolCall,
    Usage,
)
from hubspoke.types import FinishReason as Reason
from tests.fakes import ollama_memory
from tests.fakes.ollama import TEMPLATE, Json, Offered, OllamaDouble, Refusal, Reply, Runner

SAMPLING: Final = (
    "temperature", "top_p", "top_k", "min_p", "seed", "repeat_penalty", "frequency_penalty", "presence_penalty",
)  # fmt: skip
EFFORTS: Final = {None: None, False: Effort.NONE, True: Effort.MEDIUM, **{one.value: one for one in Effort}}
DIMENSIONS: Final = 16
"""Of the vectors of a model that is said to make some, and makes none in the embedded engine."""

_SLOT: Final = re.compile(r"\{\{-?\s*\.(System|Prompt)\s*-?\}\}")

Part = Callable[[Json], Json]
"""How a route says what belongs to a message."""


async def chat(double: OllamaDouble, body: Json) -> Reply:
    offered = await double.find(body)
    turns = tuple(_turn(turn) for turn in body.get("messages") or ())
    _check_think(offered, body)
    if turns and turns[0].speaker is not Speaker.SYSTEM and offered.system:
        turns = (Message(Speaker.SYSTEM, offered.system), *turns)
    if body.get("tools") and not offered.can("tools"):
        raise Refusal(400, f"registry.ollama.ai/library/{offered.whole_name} does not support tools")
    tools = tuple(_tool(tool["function"]) for tool in body.get("tools") or ())
    request = Request("", messages=turns, tools=tools)
    return await _answer(double, offered, body, request, lambda message: {"message": message})


async def generate(double: OllamaDouble, body: Json) -> Reply:
    offered = await double.find(body)
    _check_think(offered, body)
    prompt, system = str(body.get("prompt", "")), str(body.get("system", "") or offered.system)
    template = str(body.get("template", "") or offered.template)
    if body.get("raw"):
        if body.get("template") or body.get("system") or body.get("context"):
            raise Refusal(400, "raw mode does not support template, system, or context")
        request = Request("", prompt=prompt)
    elif not prompt:
        request = Request("")
    elif template != TEMPLATE:
        filled = {"System": system, "Prompt": prompt}
        request = Request("", prompt=_SLOT.sub(lambda slot: filled[slot[1]], template))
    else:
        first = (Message(Speaker.SYSTEM, system),) if system else ()
        request = Request("", messages=(*first, Message(Speaker.USER, prompt)))
    return await _answer(double, offered, body, request, _continued)


async def embed(double: OllamaDouble, body: Json) -> Reply:
    offered = await double.find(body)
    told = body.get("input")
    texts = [told] if isinstance(told, str) and told else list(told or ())
    if not all(isinstance(text, str) for text in texts):
        raise Refusal(400, "invalid input type")
    # Whether the context shifts is nothing that this route can be told.
    runner = await ollama_memory.runner(double, offered, body, shift=True)
    if not texts:
        return {"model": body["model"], "embeddings": []}
    if not offered.can("embedding"):
        raise Refusal(501, "This server does not support embeddings. Start it with `--embeddings`")
    runner.busy += 1
    try:
        vectors, tokens = [], 0
        for text in texts:
            async with runner.queue:
                may_cut = body.get("truncate", True)
                vector, cost = await _vector(double, offered, runner, text, may_cut=may_cut)
            vectors.append(_cut(vector, int(body.get("dimensions") or 0)))
            tokens += cost
    finally:
        runner.busy -= 1
        ollama_memory.rest(double, runner)
    return {
        "model": body["model"],
        "embeddings": double.spoil(vectors) if double.spoil else vectors,
        "prompt_eval_count": tokens,
    }


# Answers.


async def _answer(double: OllamaDouble, offered: Offered, body: Json, request: Request, part: Part) -> Reply:
    asks = bool(request.messages or request.prompt)
    end = {"model": body["model"], "created_at": datetime.now(UTC).isoformat(), "done": True}
    if not asks and "keep_alive" in body and ollama_memory.kept_s(body["keep_alive"]) == 0:
        await ollama_memory.unload(double, offered)
        return end | part(_said()) | {"done_reason": "unload"}
    if not offered.can("completion"):
        asked = "generate" if "prompt" in body else "chat"
        raise Refusal(400, f'"{body["model"]}" does not support {asked}')
    runner = await ollama_memory.runner(double, offered, body, shift=bool(body.get("shift", True)))
    if not asks:
        return end | part(_said()) | {"done_reason": "load"}
    request = _seen(offered, _with_options(request, body))
    if body.get("truncate", True) and double.script is None:
        async with runner.queue:
            request = await _fitting(double, offered, request)
    lines = _lines(double, runner, request, _Voice(end, part))
    return lines if body.get("stream", True) else await _whole(lines)


@dataclass(slots=True)
class _Voice:
    """Puts what an engine says into Ollama's words; calls are gathered until they are whole."""

    end: Json
    part: Part
    calls: dict[int, list[str]] = field(default_factory=dict)

    def says(self, event: Delta | Json) -> Json | None:
        if not isinstance(event, Delta):
            return self.end | {"done": False} | self.part(_said() | event)
        for call in event.tool_calls:
            known = self.calls.setdefault(call.index, ["", "", ""])
            for place, piece in enumerate((call.id, call.name, call.arguments)):
                known[place] += piece
        if event.thinking:
            return self.says({"thinking": event.thinking})
        return self.says({"content": event.text}) if event.text else None

    def ends(self, usage: Usage, reason: Reason) -> Json:
        """Say the last line. The newest servers send the calls with it; a script may send them before, as others do."""
        last = {
            "done_reason": "length" if reason is Reason.LENGTH else "stop",
            "prompt_eval_count": usage.prompt_tokens,
            "prompt_eval_duration": int((usage.prompt_s or 0) * 1e9),
            "eval_count": usage.output_tokens,
            "eval_duration": int((usage.decode_s or 0) * 1e9),
        }
        calls = [
            {
                "id": name,
                "function": {"index": index, "name": tool, "arguments": json.loads(arguments or "{}")},
            }
            for index, (name, tool, arguments) in sorted(self.calls.items())
        ]
        with_calls = {"tool_calls": calls} if calls else {}
        return self.end | self.part(_said() | with_calls) | last


async def _lines(
    double: OllamaDouble, runner: Runner, request: Request, voice: _Voice
) -> AsyncIterator[Json]:
    runner.busy += 1
    double.answering += 1
    double.idle.clear()
    double.working.set()
    try:
        async with runner.queue:
            if double.script is not None:
                for message in double.script:
                    yield voice.says(message)
                usage = Usage(prompt_tokens=5, output_tokens=len(double.script))
                yield voice.ends(usage, Reason.STOP)
                return
            async with aclosing(double.engine.generate(runner.offered.stored.name, request)) as events:
                async for event in events:
                    ended = isinstance(event, Finished)
                    line = voice.ends(event.usage, event.reason) if ended else voice.says(event)
                    if line is not None:
                        yield line
    finally:
        runner.busy -= 1
        double.answering -= 1
        if not double.answering:
            double.working.clear()
            double.idle.set()
        ollama_memory.rest(double, runner)


async def _fitting(double: OllamaDouble, offered: Offered, request: Request) -> Request:
    """Drop the beginning of a prompt until it fits, in silence, as Ollama does unless told not to."""
    while True:
        try:
            probe = replace(request, max_output_tokens=1, format=None)
            async with aclosing(double.engine.generate(offered.stored.name, probe)) as events:
                await anext(events)
        except ContextTooLong:
            if request.messages:
                last = request.messages[-1]
                kept = replace(last, text=last.text[len(last.text) // 2 :])
                request = replace(request, messages=(kept,))
            else:
                request = replace(request, prompt=request.prompt[len(request.prompt) // 2 :])
        else:
            return request


async def _whole(lines: AsyncIterator[Json]) -> Json:
    """Put a stream together, for whoever did not want one."""
    message: Json = _said()
    text, last = "", {}
    async for last in lines:
        text += last.get("response", "")
        for key, value in last.get("message", {}).items():
            if key != "role":
                message[key] = message.get(key, type(value)()) + value
    return last | ({"response": text} if "response" in last else {"message": message})


# Requests.


def _turn(turn: Json) -> Message:
    calls = [call["function"] | {"id": call.get("id", "")} for call in turn.get("tool_calls") or ()]
    return Message(
        Speaker(turn["role"]),
        turn.get("content", ""),
        images=tuple(Image(b64decode(image, validate=True)) for image in turn.get("images") or ()),
        thinking=turn.get("thinking", ""),
        tool_calls=tuple(ToolCall(call["name"], json.dumps(call["arguments"]), call["id"]) for call in calls),
        tool_call_id=turn.get("tool_call_id", ""),
        tool_name=turn.get("tool_name", ""),
    )


def _tool(told: Json) -> Tool:
    return Tool(told["name"], told.get("description", ""), json.dumps(told.get("parameters") or {}))


def _check_think(offered: Offered, body: Json) -> None:
    think = body.get("think")
    if think not in EFFORTS or think == "none":
        raise Refusal(
            400, 'think must be a boolean or string ("high", "medium", "low", "max", true, or false)'
        )
    if think and not offered.can("thinking"):
        raise Refusal(400, f'"{body["model"]}" does not support thinking')


def _with_options(request: Request, body: Json) -> Request:
    options = body.get("options") or {}
    form = body.get("format") or None
    if form not in (None, "json") and not isinstance(form, dict):
        raise Refusal(
            500, f'invalid format: {json.dumps(form)}; expected "json" or a valid JSON Schema object'
        )
    schema = JsonFormat(json.dumps(form) if isinstance(form, dict) else "")
    return replace(
        request,
        sampling=Sampling(**{name: options[name] for name in SAMPLING if name in options}),
        max_output_tokens=max(int(options.get("num_predict", -1)), 0),
        stop=tuple(options.get("stop", ())),
        format=schema if form else None,
        thinking=EFFORTS[body.get("think")] if request.messages else None,
    )


def _seen(offered: Offered, request: Request) -> Request:
    """Let the model see the pictures, if it can. The embedded engine cannot, so they go no further."""
    if any(turn.images for turn in request.messages) and not offered.can("vision"):
        raise Refusal(
            500,
            "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
        )
    return replace(request, messages=tuple(replace(turn, images=()) for turn in request.messages))


def _said() -> Json:
    return {"role": "assistant", "content": ""}


def _continued(message: Json) -> Json:
    thinking = {"thinking": message["thinking"]} if "thinking" in message else {}
    return {"response": message["content"]} | thinking


# Vectors.


async def _vector(
    double: OllamaDouble, offered: Offered, runner: Runner, text: str, *, may_cut: bool
) -> tuple[list[float], int]:
    """Make the vector of *text*, and say what it cost in tokens."""
    while True:
        try:
            return await _made(double, offered, runner, text)
        except ContextTooLong as error:
            if not may_cut:
                raise Refusal(400, "the input length exceeds the context length") from error
            text = text[: len(text) // 2]


async def _made(double: OllamaDouble, offered: Offered, runner: Runner, text: str) -> tuple[list[float], int]:
    name = offered.stored.name
    (known,) = [model for model in await double.engine.models() if model.name == name]
    if Capability.EMBED in known.capabilities:
        vectors: list[list[float]] = []
        tokens = 0
        async with aclosing(double.engine.embed(name, EmbedRequest("", (text,)))) as events:
            async for event in events:
                if isinstance(event, Embeddings):
                    vectors += [list(vector) for vector in event.vectors]
                elif isinstance(event, Finished):
                    tokens = event.usage.prompt_tokens
        return vectors[0], tokens
    if len(text.encode()) > runner.context_tokens:
        raise ContextTooLong("more tokens than the context holds")
    digest = hashlib.sha256(text.encode()).digest()[:DIMENSIONS]
    return [byte - 127.5 for byte in digest], len(text.encode())


def _cut(vector: list[float], dimensions: int) -> list[float]:
    kept = vector[: dimensions or len(vector)]
    length = math.hypot(*kept)
    return [number / length for number in kept]
