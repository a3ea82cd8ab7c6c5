"""`/v1/chat/completions` and `/v1/completions`."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from hub.gateway.asking import served
from hub.gateway.exchange import SSE
from hub.gateway.jsontext import encode
from hub.gateway.openai.bodies import ChatBody, CompletionBody, chat_request, completion_request
from hub.gateway.openai.errors import described
from hub.gateway.parsing import parse
from hub.gateway.sse import event, waiting_comment, working_comment
from hubspoke.types import FinishReason

if TYPE_CHECKING:
    from datetime import datetime

    from hub.gateway.access import Principal
    from hub.gateway.exchange import Exchange
    from hub.gateway.front import Front
    from hubspoke.errors import MeshError
    from hubspoke.gathered import Answer
    from hubspoke.types import Delta, Finished, Started, ToolCallPart, Usage, Waiting

DONE: Final = b"data: [DONE]\n\n"
REASONS: Final = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.TOOL_CALLS: "tool_calls",
    FinishReason.CANCELLED: "stop",
}


async def chat(front: Front, exchange: Exchange, principal: Principal) -> None:
    """Answer a conversation."""
    body = parse(await exchange.body(), ChatBody)
    request = chat_request(body)
    if body.stream:
        voice = ChatVoice(
            Label.new("chatcmpl", "chat.completion.chunk", front.now()), wants_usage=_wants_usage(body)
        )
        await front.stream(exchange, principal, request, voice)
        return
    answer = await front.whole(exchange, principal, request)
    await exchange.respond(200, msgspec.json.encode(_chat_completion(answer, front.now())))


async def completion(front: Front, exchange: Exchange, principal: Principal) -> None:
    """Continue a text."""
    body = parse(await exchange.body(), CompletionBody)
    request = completion_request(body)
    if body.stream:
        voice = TextVoice(Label.new("cmpl", "text_completion", front.now()), wants_usage=_wants_usage(body))
        await front.stream(exchange, principal, request, voice)
        return
    answer = await front.whole(exchange, principal, request)
    choice = {
        "index": 0,
        "text": answer.text,
        "finish_reason": REASONS[answer.finished.reason],
        "logprobs": None,
    }
    head = Label.new("cmpl", "text_completion", front.now()).head(answer.started)
    content = {**head, "choices": [choice], "usage": usage(answer.finished.usage)}
    await exchange.respond(200, msgspec.json.encode(content))


@dataclass(frozen=True, slots=True)
class Label:
    """What every piece of one answer carries."""

    id: str
    kind: str
    created: int

    @staticmethod
    def new(prefix: str, kind: str, now: datetime) -> Label:
        """Make one for a new answer."""
        return Label(f"{prefix}-{secrets.token_hex(12)}", kind, int(now.timestamp()))

    def head(self, started: Started) -> dict[str, object]:
        """Give the fields that come first, with what only a mesh has to say."""
        return {
            "id": self.id,
            "object": self.kind,
            "created": self.created,
            "model": started.model,
            "hubspoke": served(started),
        }


class ChatVoice:
    """A chat completion as a stream of chunks."""

    content_type = SSE

    def __init__(self, label: Label, *, wants_usage: bool) -> None:
        self._label = label
        self._wants_usage = wants_usage
        self._head: dict[str, object] = {}
        self._text = b"", b""

    def waiting(self, waiting: Waiting) -> bytes:
        """Say so in a comment, which clients pass over."""
        return waiting_comment(waiting)

    def working(self, waiting: Waiting) -> bytes:
        """Say so in a comment."""
        return working_comment(waiting)

    def started(self, started: Started) -> bytes:
        """Send the first chunk, which has the role, and who made the answer."""
        first = self._label.head(started)
        self._head = {name: value for name, value in first.items() if name != "hubspoke"}
        mark = "\0"
        before, after = self._chunk({"content": mark}).split(encode(mark))
        self._text = before, after
        return self._chunk({"role": "assistant", "content": ""}, more={"hubspoke": first["hubspoke"]})

    def said(self, delta: Delta) -> bytes:
        """Send a chunk with what the delta adds."""
        if delta.text:
            # By far the most common one, so nothing but the text is encoded for it.
            return encode(delta.text).join(self._text)
        if delta.thinking:
            return self._chunk({"reasoning_content": delta.thinking})
        return self._chunk({"tool_calls": [_call_part(part) for part in delta.tool_calls]})

    def finished(self, finished: Finished) -> bytes:
        """Send the chunk with the reason, the usage where it is wanted, and the mark of the end."""
        last = self._chunk({}, reason=REASONS[finished.reason])
        if not self._wants_usage:
            return last + DONE
        return last + event({**self._head, "choices": [], "usage": usage(finished.usage)}) + DONE

    def failed(self, error: MeshError) -> bytes:
        """Send the error; clients of OpenAI raise it."""
        return event({"error": described(error)})

    def _chunk(
        self, delta: dict[str, object], *, reason: str | None = None, more: dict[str, object] | None = None
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return event({**self._head, "choices": [choice], **(more or {})})


class TextVoice:
    """A text completion as a stream of chunks."""

    content_type = SSE

    def __init__(self, label: Label, *, wants_usage: bool) -> None:
        self._label = label
        self._wants_usage = wants_usage
        self._head: dict[str, object] = {}

    def waiting(self, waiting: Waiting) -> bytes:
        """Say so in a comment, which clients pass over."""
        return waiting_comment(waiting)

    def working(self, waiting: Waiting) -> bytes:
        """Say so in a comment."""
        return working_comment(waiting)

    def started(self, started: Started) -> bytes:
        """Say nothing: a text completion has no first chunk of its own."""
        self._head = self._label.head(started)
        return b""

    def said(self, delta: Delta) -> bytes:
        """Send a chunk with the text that the delta adds."""
        return self._chunk(delta.text) if delta.text else b""

    def finished(self, finished: Finished) -> bytes:
        """Send the chunk with the reason, the usage where it is wanted, and the mark of the end."""
        last = self._chunk("", REASONS[finished.reason])
        if not self._wants_usage:
            return last + DONE
        return last + event({**self._head, "choices": [], "usage": usage(finished.usage)}) + DONE

    def failed(self, error: MeshError) -> bytes:
        """Send the error; clients of OpenAI raise it."""
        return event({"error": described(error)})

    def _chunk(self, text: str, reason: str | None = None) -> bytes:
        choice = {"index": 0, "text": text, "finish_reason": reason, "logprobs": None}
        return event({**self._head, "choices": [choice]})


def usage(cost: Usage) -> dict[str, object]:
    """Give what an answer has cost."""
    return {
        "prompt_tokens": cost.prompt_tokens,
        "completion_tokens": cost.output_tokens,
        "total_tokens": cost.prompt_tokens + cost.output_tokens,
        "prompt_tokens_details": {"cached_tokens": cost.cached_tokens or 0},
    }


def _chat_completion(answer: Answer, now: datetime) -> dict[str, object]:
    message: dict[str, object] = {"role": "assistant", "content": answer.text or None, "refusal": None}
    if answer.thinking:
        message["reasoning_content"] = answer.thinking
    if answer.tool_calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in answer.tool_calls
        ]
    elif message["content"] is None:
        message["content"] = ""
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": REASONS[answer.finished.reason],
        "logprobs": None,
    }
    head = Label.new("chatcmpl", "chat.completion", now).head(answer.started)
    return {**head, "choices": [choice], "usage": usage(answer.finished.usage)}


def _call_part(part: ToolCallPart) -> dict[str, object]:
    function: dict[str, object] = {"arguments": part.arguments}
    if not part.name:
        return {"index": part.index, "function": function}
    return {
        "index": part.index,
        "id": part.id,
        "type": "function",
        "function": {"name": part.name, **function},
    }


def _wants_usage(body: ChatBody | CompletionBody) -> bool:
    return bool(body.stream_options and body.stream_options.include_usage)
