"""Failures of Ollama, as ours. Pure.

Ollama tells most errors apart only in words. They decide the kind of an error and never its sentence, as they may quote
the prompt or name a path; they go into a note on the error, which stays on this machine.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from hubspoke.errors import (
    ContextTooLong,
    EngineCrashed,
    EngineOutOfMemory,
    EngineOverloaded,
    EngineProtocol,
    EngineTruncated,
    EngineUnavailable,
    InvalidRequest,
    UnknownModel,
    Unsupported,
)
from spoke.engines.openai import errors as openai_errors
from spoke.engines.openai.errors import DETAIL_CHARACTERS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hubspoke.errors import MeshError

MID_STREAM: Final = -1
"""The status that the package gives to an error that came in the middle of an answer."""

_Kind: TypeAlias = "tuple[tuple[str, ...], type[MeshError], str]"
"""Words of which one is enough, and the error that they mean."""

_CONTEXT_WORDS: Final = ("context length", "context size")
_CONTEXT_FIGURES: Final = re.compile(r"\((\d{1,9}) tokens\).*\((\d{1,9}) tokens\)")

# Memory comes first: what a runner died of says more than that it died.
_ANSWER_KINDS: Final[tuple[_Kind, ...]] = (
    (
        (
            "more system memory", "out of memory", "out of device memory", "not enough memory", "insufficient memory",
            "unable to allocate", "failed to allocate", "allocation failed", "malloc failed",
        ),
        EngineOutOfMemory,
        "the engine has not enough memory for it; unload other models, or ask a smaller one",
    ),
    (_CONTEXT_WORDS, ContextTooLong, "the prompt does not fit into the model's context; shorten it"),
    (
        ("runner process", "runner has unexpectedly stopped", "server process", "terminated", "while running the model"),
        EngineCrashed,
        "Ollama's runner of the model died; the spoke's log says more",
    ),
    (("server busy",), EngineOverloaded, "the engine's queue is full; try again soon"),
    (
        ("think value", "think must be", "field chatrequest.think"),
        Unsupported,
        "this Ollama can only let the model think or not, as it likes; leave the effort open, or update Ollama",
    ),
    (
        ("does not support", "missing data required for image", "vision model not loaded", "only supports one image"),
        Unsupported,
        "the model cannot do what is asked; `hubspoke models` lists what each one can",
    ),
    (
        ("invalid json schema", "invalid format", "grammar"),
        InvalidRequest,
        "Ollama cannot hold a model to this format; use a simpler schema",
    ),
    (("nan or inf", "value: nan"), EngineProtocol, "the engine made a vector that has no direction; ask another model"),
)  # fmt: skip

_PULL_KINDS: Final[tuple[_Kind, ...]] = (
    (
        ("file does not exist", "manifest unknown"),
        UnknownModel,
        "Ollama's library has no such model; look its name up at ollama.com/library",
    ),
    (
        ("no space left", "not enough space", "disk quota"),
        EngineOutOfMemory,
        "the disk on which Ollama keeps its models is full; make room there and pull again, it goes on from there",
    ),
    (
        ("newer version of ollama",),
        Unsupported,
        "the Ollama of this spoke is too old for the model; update it and pull again",
    ),
    (("requires mlx",), Unsupported, "the Ollama of this spoke cannot run models of this kind; pull another one"),
    (
        ("invalid model name", "unqualified name", "insecure protocol", ":local or :cloud"),
        InvalidRequest,
        "that is no name of a model; take one of Ollama's library, such as 'qwen3:0.6b'",
    ),
    (
        ("unauthorized", "access denied", "forbidden"),
        Unsupported,
        "the library does not give this model to this Ollama; sign in on that machine with `ollama signin`",
    ),
    (("digest mismatch",), EngineTruncated, "what came was damaged on the way; pull again"),
    (
        (
            "dial tcp", "lookup ", "no such host", "timeout", "deadline exceeded", "connection re", "network is",
            "tls:", "x509", "max retries", "unexpected eof", "part stalled", "status code 5",
        ),
        EngineUnavailable,
        "Ollama does not reach its library; check that machine's network and pull again, it goes on from there",
    ),
)  # fmt: skip


def refused(status: int, said: str) -> MeshError:
    """Read what Ollama *said* with a *status* of HTTP, or in the middle of an answer with `MID_STREAM`."""
    return _by_words(status, said, _ANSWER_KINDS) or _by_status(status, said)


def pull_refused(status: int, said: str) -> MeshError:
    """Read what Ollama *said* instead of pulling on; nearly all of it comes in the middle, after a first line."""
    error = _by_words(status, said, _PULL_KINDS)
    if error is None and status == MID_STREAM:
        error = _noted(EngineTruncated("Ollama broke the pull off; the spoke's log says why"), status, said)
    return error or _by_status(status, said)


def _by_words(status: int, said: str, kinds: Iterable[_Kind]) -> MeshError | None:
    words = said.lower()
    for vocabulary, kind, message in kinds:
        if any(word in words for word in vocabulary):
            error = _too_long(words, message) if kind is ContextTooLong else kind(message)
            return _noted(error, status, said)
    return None


def _by_status(status: int, said: str) -> MeshError:
    body = msgspec.json.encode({"error": said})
    return openai_errors.broken_off(body) if status == MID_STREAM else openai_errors.refused(status, body)


def _too_long(words: str, otherwise: str) -> ContextTooLong:
    figures = _CONTEXT_FIGURES.search(words)
    if figures is None:
        return ContextTooLong(otherwise)
    prompt_tokens, context_tokens = (int(figure) for figure in figures.groups())
    return ContextTooLong(
        f"the prompt has {prompt_tokens} tokens and the context holds {context_tokens}; shorten it",
        prompt_tokens=prompt_tokens,
        context_tokens=context_tokens,
    )


def _noted(error: MeshError, status: int, said: str) -> MeshError:
    error.add_note(f"{status}: {said[:DETAIL_CHARACTERS_MAX]}")
    return error
