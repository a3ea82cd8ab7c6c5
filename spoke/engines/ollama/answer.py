"""The stream of one answer, as Ollama sends it. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hubspoke.errors import EngineProtocol, EngineTruncated, InvalidOutput
from hubspoke.types import Delta, Finished, FinishReason, ToolCallPart, Usage
from spoke.engines.openai.answer import SECONDS_MAX
from spoke.engines.openai.calls import CALLS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ollama import ChatResponse, GenerateResponse, Message

    from hubspoke.types import Request

NS_PER_S: Final = 1_000_000_000
TOKENS_MAX: Final = 2**32 - 1

_HALF_SIGNS: Final = re.compile("[\ud800-\udfff]")

_REASONS: Final = {
    None: FinishReason.STOP,  # older servers give none
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
}


class Answer:
    """Reads the parts of one answer to *request* in order."""

    def __init__(self, request: Request) -> None:
        self._counted = 0
        # Calls go by made-up ids. Counting on from those of the conversation keeps each of them the only one there.
        self._first_id = sum(len(turn.tool_calls) for turn in request.messages)
        self._calls = 0
        self._end: ChatResponse | GenerateResponse | None = None

    def chatted(self, part: ChatResponse) -> tuple[Delta, ...]:
        """Give what a part adds to a conversation: thoughts, text and calls, each by itself."""
        deltas = tuple(self._said(part.message))
        self._note(part, adds=bool(deltas))
        return deltas[:1] + tuple(replace(delta, tokens=0) for delta in deltas[1:])

    def continued(self, part: GenerateResponse) -> tuple[Delta, ...]:
        """Give the text that a part adds to a raw prompt, if any."""
        self._note(part, adds=bool(part.response))
        return (Delta(sound(part.response)),) if part.response else ()

    def finished(self) -> Finished:
        """Say how the answer ended; raise EngineTruncated when it did not."""
        end = self._end
        if end is None:
            raise EngineTruncated("the engine's answer broke off; ask again")
        reason = _REASONS.get(end.done_reason)
        if reason is None:
            raise EngineTruncated("the engine ended its answer for a reason that this version does not know")
        if reason is FinishReason.STOP and self._calls:
            reason = FinishReason.TOOL_CALLS
        usage = Usage(
            prompt_tokens=count(end.prompt_eval_count, 0),
            output_tokens=count(end.eval_count, self._counted),
            prompt_s=_seconds(end.prompt_eval_duration),
            decode_s=_seconds(end.eval_duration),
        )
        return Finished(reason, usage)

    def _note(self, part: ChatResponse | GenerateResponse, *, adds: bool) -> None:
        """Count a part as one token, whatever it *adds*, and keep the last one."""
        self._counted += adds
        if part.done:
            self._end = part

    def _said(self, message: Message) -> Iterator[Delta]:
        if message.thinking:
            yield Delta(thinking=sound(message.thinking))
        if message.content:
            yield Delta(sound(message.content))
        if message.tool_calls:
            yield Delta(tool_calls=self._numbered(message.tool_calls))

    def _numbered(self, calls: Sequence[Message.ToolCall]) -> tuple[ToolCallPart, ...]:
        first, self._calls = self._calls, self._calls + len(calls)
        if self._calls > CALLS_MAX:
            raise EngineProtocol(f"the engine called tools more than {CALLS_MAX} times in one answer")
        return tuple(
            ToolCallPart(
                index=index,
                id=f"call_{self._first_id + index}",
                name=_name(call.function.name),
                arguments=_written(call.function.arguments),
            )
            for index, call in enumerate(calls, first)
        )


def _name(called: str) -> str:
    if not called:
        raise InvalidOutput("the model called a tool without its name; ask again")
    return sound(called)


def _written(arguments: Mapping[str, object]) -> str:
    # The standard library's, as it takes whole numbers of any length, as the package does.
    text = json.dumps(arguments, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return sound(text)


def sound(text: str) -> str:
    """Put U+FFFD for halves of signs: the package lets them through, and no message can carry them."""
    return _HALF_SIGNS.sub("\ufffd", text)


def count(told: int | None, otherwise: int) -> int:
    """Give a number of tokens that Ollama has *told*, cut to what can be."""
    return otherwise if told is None else min(max(told, 0), TOKENS_MAX)


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else min(max(ns, 0), SECONDS_MAX * NS_PER_S) / NS_PER_S
