"""An answer as Ollama's clients read it: lines of JSON, of which the last one says what it has cost, or all of it in one.

A blank line would end some clients, so whoever waits hears a line whose text is empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from hub.gateway.asking import served
from hub.gateway.exchange import NDJSON
from hub.gateway.jsontext import encode
from hub.gateway.ollama.errors import described
from hubspoke.gathered import Gathered
from hubspoke.types import FinishReason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from hubspoke.errors import MeshError
    from hubspoke.gathered import Answer
    from hubspoke.types import Delta, Finished, Started, ToolCall, Waiting

Json: TypeAlias = dict[str, object]

NS_PER_S: Final = 1_000_000_000

_REASONS: Final = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.TOOL_CALLS: "stop",
    FinishReason.CANCELLED: "stop",
}


@dataclass(frozen=True, slots=True)
class Form:
    """Where the text, the thinking and the calls of an answer stand, and what its end has beside the figures."""

    piece: Callable[[str, str, list[Json]], Json]
    end: tuple[tuple[str, object], ...] = ()


def _message(text: str, thinking: str, calls: list[Json]) -> Json:
    message: Json = {"role": "assistant", "content": text}
    if thinking:
        message["thinking"] = thinking
    if calls:
        message["tool_calls"] = calls
    return {"message": message}


def _response(text: str, thinking: str, _calls: list[Json]) -> Json:
    return {"response": text, "thinking": thinking} if thinking else {"response": text}


CHAT: Final = Form(_message)
GENERATE: Final = Form(_response, end=(("context", ()),))
"""No context comes back: the mesh keeps none, and takes none."""


@dataclass(frozen=True, slots=True)
class Heading:
    """What every line of one answer carries: the model as it was asked for; and since when the answer is awaited."""

    model: str
    at: datetime
    began_s: float

    @property
    def fields(self) -> Json:
        """The fields that come first."""
        return {"model": self.model, "created_at": moment(self.at)}


class LineVoice:
    """An answer as a stream of lines. *monotonic* is the clock that *heading* began with."""

    content_type = NDJSON

    def __init__(self, heading: Heading, form: Form, monotonic: Callable[[], float]) -> None:
        self._heading = heading
        self._form = form
        self._monotonic = monotonic
        self._calls = Gathered()
        self._served: Json = {}
        self._text = b"", b""
        self._is_first = True

    def waiting(self, waiting: Waiting) -> bytes:
        """Say so beside an empty text."""
        return self._line(more={"hubspoke": {"waiting": _reason(waiting)}})

    def working(self, waiting: Waiting) -> bytes:
        """Say so with an empty text."""
        return self._line() if waiting.silent_s is None else self.waiting(waiting)

    def started(self, started: Started) -> bytes:
        """Say nothing yet: the first line of the answer tells who makes it."""
        self._calls.add(started)
        self._served = {"hubspoke": served(started)}
        mark = "\0"
        before, after = self._line(mark).split(encode(mark))
        self._text = before, after
        return b""

    def said(self, delta: Delta) -> bytes:
        """Send a line with what the delta adds. Calls come whole, so they wait for the end."""
        if delta.tool_calls:
            self._calls.add(delta)
            return b""
        if self._is_first:
            self._is_first = False
            return self._line(delta.text, delta.thinking, more=self._served)
        if delta.thinking:
            return self._line("", delta.thinking)
        # By far the most common one, so nothing but the text is encoded for it.
        return encode(delta.text).join(self._text)

    def finished(self, finished: Finished) -> bytes:
        """Send the calls, if any, and the figures."""
        self._calls.add(finished)
        answer = self._calls.answer()
        called = calls_of(answer.tool_calls)
        of_calls = self._line(calls=called) if called else b""
        total_s = self._monotonic() - self._heading.began_s
        content = {
            **self._heading.fields,
            **self._form.piece("", "", []),
            **ending(answer, self._form, total_s),
        }
        return of_calls + line(content)

    def failed(self, error: MeshError) -> bytes:
        """Send the error; clients of Ollama raise it."""
        return line(described(error))

    def _line(
        self, text: str = "", thinking: str = "", calls: list[Json] | None = None, more: Json | None = None
    ) -> bytes:
        piece = self._form.piece(text, thinking, calls or [])
        return line({**self._heading.fields, **piece, "done": False, **(more or {})})


def whole(heading: Heading, form: Form, answer: Answer, total_s: float) -> Json:
    """Give an answer in one."""
    piece = form.piece(answer.text, answer.thinking, calls_of(answer.tool_calls))
    return {**heading.fields, **piece, **ending(answer, form, total_s)}


def done(heading: Heading, form: Form, reason: str, total_s: float) -> Json:
    """Give the answer to who has asked nothing but to have a model loaded, or let go of."""
    return {
        **heading.fields,
        **form.piece("", "", []),
        "done": True,
        "done_reason": reason,
        "total_duration": nanoseconds(total_s),
    }


def ending(answer: Answer, form: Form, total_s: float) -> Json:
    """Give why and after what an answer has ended. Until a model is there for it, it loads, as Ollama counts.

    Where the engine does not tell how long it took, it is what the hub's clock leaves over.
    """
    usage, load_s = answer.finished.usage, answer.started.queue_s
    prompt_s = usage.prompt_s or 0.0
    decode_s = total_s - load_s - prompt_s if usage.decode_s is None else usage.decode_s
    return {
        "done": True,
        "done_reason": _REASONS[answer.finished.reason],
        **dict(form.end),
        "total_duration": nanoseconds(total_s),
        "load_duration": nanoseconds(load_s),
        "prompt_eval_count": usage.prompt_tokens,
        "prompt_eval_duration": nanoseconds(prompt_s),
        "eval_count": usage.output_tokens,
        "eval_duration": nanoseconds(decode_s),
        "hubspoke": served(answer.started),
    }


def calls_of(calls: Iterable[ToolCall]) -> list[Json]:
    """Give calls with their arguments as objects. One that broke off is none; the reason of the end tells of that."""
    whole_calls = ((call, _object(call.arguments)) for call in calls)
    return [
        {"id": call.id, "function": {"index": index, "name": call.name, "arguments": arguments}}
        for index, (call, arguments) in enumerate(whole_calls)
        if arguments is not None
    ]


def line(content: object) -> bytes:
    """Write one line."""
    return encode(content) + b"\n"


def moment(at: datetime) -> str:
    """Write a moment, which is in UTC."""
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"


def nanoseconds(seconds: float) -> int:
    """Give a duration in Ollama's unit."""
    return max(0, round(seconds * NS_PER_S))


def _reason(waiting: Waiting) -> Json:
    if waiting.spoke is None:
        return {"for": "a free slot"}
    if waiting.silent_s is not None:
        return {"for": "the first word", "spoke": waiting.spoke, "silent": round(waiting.silent_s, 1)}
    times = {"elapsed": waiting.elapsed_s, "expected": waiting.expected_s}
    known = {name: round(value, 1) for name, value in times.items() if value is not None}
    return {"for": "a load", "spoke": waiting.spoke, **known}


def _object(text: str) -> Json | None:
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, object])
    except (msgspec.DecodeError, RecursionError):
        return None
