"""Failures of Ollama, as ours. Pure.

Ollama tells most errors apart only in words. They decide the kind of an error and never its sentence, as they may quote
the prompt or name a path; they go into a note on the error, which stays on this machine.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from hubspoke.errors import (
    ContextTooLong,
    EngineCrashed,
    EngineOutOfMemory,
    EngineOverloaded,
    MeshError,
)
from spoke.engines import openai_errors
from spoke.engines.openai_errors import DETAIL_CHARACTERS_MAX

MID_STREAM: Final = -1
"""The status that the package gives to an error that came in the middle of an answer."""

_MEMORY_WORDS: Final = ("more system memory", "out of memory", "unable to allocate", "failed to allocate")
_CRASH_WORDS: Final = ("runner process", "runner has unexpectedly stopped", "server process", "terminated")
_BUSY_WORDS: Final = ("server busy",)
_CONTEXT_WORDS: Final = ("context length", "context size")
_CONTEXT_FIGURES: Final = re.compile(r"\((\d{1,9}) tokens\).*\((\d{1,9}) tokens\)")


def refused(status: int, said: str) -> MeshError:
    """Read what Ollama *said* with a *status* of HTTP, or in the middle of an answer with `MID_STREAM`."""
    error = _by_words(said)
    if error is not None:
        error.add_note(f"{status}: {said[:DETAIL_CHARACTERS_MAX]}")
        return error
    body = msgspec.json.encode({"error": said})
    return openai_errors.broken_off(body) if status == MID_STREAM else openai_errors.refused(status, body)


def _by_words(said: str) -> MeshError | None:
    words = said.lower()

    def speaks_of(vocabulary: tuple[str, ...]) -> bool:
        return any(word in words for word in vocabulary)

    if speaks_of(_MEMORY_WORDS):
        return EngineOutOfMemory(
            "the engine has not enough memory for it; unload other models, or ask a smaller one"
        )
    if speaks_of(_CONTEXT_WORDS):
        return _too_long(words)
    if speaks_of(_CRASH_WORDS):
        return EngineCrashed("Ollama's runner of the model died; the spoke's log says more")
    if speaks_of(_BUSY_WORDS):
        return EngineOverloaded("the engine's queue is full; try again soon")
    return None


def _too_long(words: str) -> ContextTooLong:
    figures = _CONTEXT_FIGURES.search(words)
    if figures is None:
        return ContextTooLong("the prompt does not fit into the model's context; shorten it")
    prompt_tokens, context_tokens = (int(figure) for figure in figures.groups())
    return ContextTooLong(
        f"the prompt has {prompt_tokens} tokens and the context holds {context_tokens}; shorten it",
        prompt_tokens=prompt_tokens,
        context_tokens=context_tokens,
    )
