"""The stream of one answer, as servers of the OpenAI HTTP API send it. Pure."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec

from hubspoke.errors import EngineProtocol, EngineTruncated
from hubspoke.types import Delta, Finished, FinishReason, Usage
from spoke.engines.openai_errors import broken_off

DONE: Final = "[DONE]"

_REASONS: Final = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.STOP,
}

_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
_Ms: TypeAlias = Annotated[float, msgspec.Meta(ge=0)]


class _Said(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Said | None = None  # in a conversation
    text: str | None = None  # after a raw prompt
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: _Count | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: _Count = 0
    completion_tokens: _Count = 0
    prompt_tokens_details: _PromptDetails | None = None


class _Timings(msgspec.Struct):
    """llama.cpp's own measurements."""

    cache_n: _Count | None = None
    prompt_n: _Count | None = None
    prompt_ms: _Ms | None = None
    predicted_ms: _Ms | None = None


class _Chunk(msgspec.Struct):
    """Every field may be missing or null: servers differ, and one server's chunks differ too."""

    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    timings: _Timings | None = None
    error: object = None


_DECODER: Final = msgspec.json.Decoder(_Chunk)


class Answer:
    """Reads the chunks of one answer in order."""

    def __init__(self) -> None:
        self._counted = 0
        self._reason: FinishReason | None = None
        self._usage: _Usage | None = None
        self._timings = _Timings()

    def read(self, payload: str) -> Delta | None:
        """Give the text that a chunk adds, if any. One chunk with text counts as one token.

        Raise EngineProtocol for a chunk that makes no sense, and what the engine says when it gives up.
        """
        try:
            chunk = _DECODER.decode(payload)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise EngineProtocol("the engine sent a chunk that makes no sense") from error
        if chunk.error is not None:
            raise broken_off(payload.encode())
        self._usage = chunk.usage or self._usage
        self._timings = chunk.timings or self._timings
        if not chunk.choices:
            return None
        choice = chunk.choices[0]  # never more: nobody asks for several answers at once
        if choice.finish_reason is not None:
            self._reason = _reason(choice.finish_reason)
        text = choice.text if choice.delta is None else choice.delta.content
        if not text:
            return None
        self._counted += 1
        return Delta(text)

    def finished(self) -> Finished:
        """Say how the answer ended; raise EngineTruncated when it did not.

        Without usage from the engine, chunks are counted, and the prompt's length is 0.
        """
        if self._reason is None:
            raise EngineTruncated("the engine's answer broke off; ask again")
        return Finished(self._reason, self._cost())

    def _cost(self) -> Usage:
        timings = self._timings
        cached = timings.cache_n
        if self._usage is None:
            prompt_tokens, output_tokens = (timings.prompt_n or 0) + (cached or 0), self._counted
        else:
            prompt_tokens, output_tokens = self._usage.prompt_tokens, self._usage.completion_tokens
            details = self._usage.prompt_tokens_details
            if details is not None and details.cached_tokens is not None:
                cached = details.cached_tokens
        return Usage(
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            cached_tokens=cached,
            prompt_s=_seconds(timings.prompt_ms),
            decode_s=_seconds(timings.predicted_ms),
        )


def _reason(named: str) -> FinishReason:
    reason = _REASONS.get(named)
    if reason is None:  # "error", "abort" and the like: whatever it is, the answer is not whole
        raise EngineTruncated("the engine ended its answer for a reason that this version does not know")
    return reason


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1000
