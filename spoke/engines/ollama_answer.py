"""The stream of one answer, as Ollama sends it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hubspoke.errors import EngineTruncated
from hubspoke.types import Delta, Finished, FinishReason, Usage

if TYPE_CHECKING:
    from ollama import ChatResponse, GenerateResponse

NS_PER_S: Final = 1_000_000_000
TOKENS_MAX: Final = 2**32 - 1

_REASONS: Final = {
    None: FinishReason.STOP,  # older servers give none
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
}


class Answer:
    """Reads the parts of one answer in order."""

    def __init__(self) -> None:
        self._counted = 0
        self._end: ChatResponse | GenerateResponse | None = None

    def read(self, part: ChatResponse | GenerateResponse, text: str | None) -> Delta | None:
        """Give the *text* that a part adds, if any. One part with text counts as one token."""
        if part.done:
            self._end = part
        if not text:
            return None
        self._counted += 1
        return Delta(text)

    def finished(self) -> Finished:
        """Say how the answer ended; raise EngineTruncated when it did not."""
        end = self._end
        if end is None:
            raise EngineTruncated("the engine's answer broke off; ask again")
        reason = _REASONS.get(end.done_reason)
        if reason is None:
            raise EngineTruncated("the engine ended its answer for a reason that this version does not know")
        usage = Usage(
            prompt_tokens=_count(end.prompt_eval_count, 0),
            output_tokens=_count(end.eval_count, self._counted),
            prompt_s=_seconds(end.prompt_eval_duration),
            decode_s=_seconds(end.eval_duration),
        )
        return Finished(reason, usage)


def _count(told: int | None, otherwise: int) -> int:
    return otherwise if told is None else min(max(told, 0), TOKENS_MAX)


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else max(ns, 0) / NS_PER_S
