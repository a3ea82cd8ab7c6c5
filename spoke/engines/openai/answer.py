"""The stream of one answer, as servers of the OpenAI HTTP API send it. Pure."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec

from hubspoke.errors import EngineProtocol, EngineTruncated
from hubspoke.types import Delta, Finished, FinishReason, Usage
from spoke.engines.json_text import NOT_JSON
from spoke.engines.openai.calls import CallPart, Calls
from spoke.engines.openai.errors import broken_off

DONE: Final = "[DONE]"
SECONDS_MAX: Final = 2**32 - 1
"""More than any answer takes, and less than what a message cannot hold."""

_REASONS: Final = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.STOP,
}

_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
_Ms: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=SECONDS_MAX * 1000)]


class _Said(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None  # vLLM's newer name; some send both
    tool_calls: list[CallPart] | None = None


class _Choice(msgspec.Struct):
    delta: _Said | None = None  # in a conversation
    text: str | None = None  # after a raw prompt
    finish_reason: str | None = None
    stop_reason: object = None  # vLLM's: the stop text, or the number of a token
    matched_stop: object = None  # SGLang's


class _Verbose(msgspec.Struct):
    """What llama.cpp says beyond the API, when it is asked to."""

    stopping_word: str = ""


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
    verbose: _Verbose | None = msgspec.field(default=None, name="__verbose")


_DECODER: Final = msgspec.json.Decoder(_Chunk)


class Answer:
    """Reads the chunks of one answer in order; *stops* are the texts that may have ended it."""

    def __init__(self, stops: tuple[str, ...] = ()) -> None:
        self._stops = stops
        self._stop = ""
        self._counted = 0
        self._reason: FinishReason | None = None
        self._usage: _Usage | None = None
        self._timings = _Timings()
        self._calls = Calls()

    @property
    def called(self) -> tuple[str, ...]:
        """The tools that were called so far."""
        return self._calls.names

    def read(self, payload: str) -> tuple[Delta, ...]:
        """Give what a chunk adds: thoughts, then text, then calls. One chunk that adds something counts as one token.

        Raise EngineProtocol for a chunk that makes no sense, and what the engine says when it gives up.
        """
        try:
            chunk = _DECODER.decode(payload)
        except NOT_JSON as error:
            raise EngineProtocol("the engine sent a chunk that makes no sense") from error
        if chunk.error is not None:
            raise broken_off(payload.encode())
        self._usage = chunk.usage or self._usage
        self._timings = chunk.timings or self._timings
        if not chunk.choices:
            return ()
        choice = chunk.choices[0]  # never more: nobody asks for several answers at once
        if choice.finish_reason is not None:
            self._reason = _reason(choice.finish_reason)
            told = (choice.stop_reason, choice.matched_stop, chunk.verbose and chunk.verbose.stopping_word)
            self._stop = next((stop for stop in self._stops if stop in told), "")
        return self._added(choice.delta or _Said(content=choice.text))

    def finished(self) -> tuple[tuple[Delta, ...], Finished]:
        """Say how the answer ended, after what was missing of its calls; raise EngineTruncated when it did not.

        Without usage from the engine, chunks are counted, and the prompt's length is 0.
        """
        reason = self._reason
        if reason is None:
            raise EngineTruncated("the engine's answer broke off; ask again")
        missing = self._calls.finished(is_whole=reason is not FinishReason.LENGTH)
        if reason is not FinishReason.LENGTH:  # some say "stop" after calls, or "tool_calls" after none
            reason = FinishReason.TOOL_CALLS if self.called else FinishReason.STOP
        ends: tuple[Delta, ...] = (Delta(tokens=0, tool_calls=missing),) if missing else ()
        return ends, Finished(reason, self._cost(), self._stop if reason is FinishReason.STOP else "")

    def _added(self, said: _Said) -> tuple[Delta, ...]:
        calls = self._calls.read(said.tool_calls) if said.tool_calls else ()
        thinking = said.reasoning_content or said.reasoning
        if not (thinking or said.content or said.tool_calls):
            return ()
        self._counted += 1
        deltas: list[Delta] = []
        if thinking:
            deltas.append(Delta(thinking=thinking))
        if said.content:
            deltas.append(Delta(said.content, tokens=0 if deltas else 1))
        if calls:
            deltas.append(Delta(tokens=0 if deltas else 1, tool_calls=calls))
        return tuple(deltas)

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
