"""Failures of servers of the OpenAI HTTP API, as ours. Pure.

What a server says may quote the prompt or name a path, so it decides the kind of an error and never its sentence. It
goes into a note on the error, which stays on this machine.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from hubspoke.errors import (
    ContextTooLong,
    EngineOutOfMemory,
    EngineOverloaded,
    EngineProtocol,
    EngineTimeout,
    EngineTruncated,
    EngineUnavailable,
    InvalidOutput,
    InvalidRequest,
    MeshError,
    RequestTooLarge,
    UnknownModel,
    Unsupported,
)
from spoke.engines.json_text import NOT_JSON


class _Problem(msgspec.Struct):
    """Of the many fields that servers send, those that tell errors apart."""

    message: str | None = None
    type: str | None = None
    code: int | str | None = None
    n_prompt_tokens: int | None = None
    n_ctx: int | None = None


class _Envelope(msgspec.Struct):
    error: _Problem | str | None = None
    message: str | None = None


DETAIL_CHARACTERS_MAX: Final = 200

_CONTEXT_KINDS: Final = frozenset({"exceed_context_size_error", "context_length_exceeded"})
_CONTEXT_WORDS: Final = "context length"  # how vLLM and others say it, with a type that means anything
_TOO_LARGE: Final = re.compile(r"input \((\d{1,9}) tokens\) is too large.*batch size: (\d{1,9})")
"""What llama.cpp says of a text that is to become a vector, with a 500."""
_SEE_LOG: Final = "the spoke's log says why"

# What llama.cpp says with a 500 that means nothing.
_NO_EYES: Final = "image input is not supported"
_NO_IMAGE: Final = "failed to load image"
_UNREADABLE: Final = "does not match the expected"

_BY_STATUS: Final[dict[int, tuple[type[MeshError], str]]] = {
    401: (EngineUnavailable, "the engine refuses this spoke's API key; correct it in the spoke's settings"),
    403: (EngineUnavailable, "the engine refuses this spoke's API key; correct it in the spoke's settings"),
    404: (UnknownModel, "the engine does not have the model"),
    408: (EngineTimeout, "the engine gave up waiting"),
    413: (RequestTooLarge, "the request is larger than the engine takes; shorten it"),
    429: (EngineOverloaded, "the engine has no slot free; try again soon"),
    501: (Unsupported, f"the model or its engine cannot do what is asked; {_SEE_LOG}"),
    502: (EngineUnavailable, "the engine does not answer"),
    503: (EngineUnavailable, "the engine is not ready; try again soon"),
    504: (EngineTimeout, "the engine took too long"),
    507: (EngineOutOfMemory, "the engine ran out of memory"),
}


def refused(status: int, body: bytes) -> MeshError:
    """Read the answer of a server that did not start to answer."""
    problem = _problem(body)
    return _noted(_too_long(problem) or _by_words(problem) or _by_status(status), problem)


def broken_off(payload: bytes) -> MeshError:
    """Read an error that came in the middle of a stream. The status was 200, so only the error's code tells."""
    problem = _problem(payload)
    code = problem.code if isinstance(problem.code, int) else 500
    # A 500 here is not the request's fault: the same request may well do on another try.
    error = (
        EngineTruncated(f"the engine broke its answer off; {_SEE_LOG}") if code == 500 else _by_status(code)
    )
    return _noted(_too_long(problem) or _by_words(problem) or error, problem)


def _by_words(problem: _Problem) -> MeshError | None:
    words = (problem.message or "").lower()
    if _NO_EYES in words:
        return Unsupported("the model takes no images; ask one that does")
    if _NO_IMAGE in words:
        return InvalidRequest("the engine cannot read an image; send it as PNG or JPEG")
    # llama.cpp reads an answer by a grammar of its own, which a model that writes odd bytes breaks.
    if _UNREADABLE in words:
        return InvalidOutput("the model wrote what the engine cannot read; ask again")
    return None


def _by_status(status: int) -> MeshError:
    if status in _BY_STATUS:
        kind, message = _BY_STATUS[status]
        return kind(message)
    if 400 <= status < 500:
        return InvalidRequest(f"the engine does not take the request (HTTP {status}); {_SEE_LOG}")
    return EngineProtocol(f"the engine failed with HTTP {status}; {_SEE_LOG}")


def _too_long(problem: _Problem) -> MeshError | None:
    words = (problem.message or "").lower()
    if (sizes := _TOO_LARGE.search(words)) is not None:
        problem = msgspec.structs.replace(problem, n_prompt_tokens=int(sizes[1]), n_ctx=int(sizes[2]))
    elif not {problem.type, problem.code} & _CONTEXT_KINDS and _CONTEXT_WORDS not in words:
        return None
    if problem.n_prompt_tokens is None or problem.n_ctx is None:
        return ContextTooLong("the prompt does not fit into the model's context; shorten it")
    return ContextTooLong(
        f"the prompt has {problem.n_prompt_tokens} tokens and the context holds {problem.n_ctx}; shorten it",
        prompt_tokens=problem.n_prompt_tokens,
        context_tokens=problem.n_ctx,
    )


def _noted(error: MeshError, problem: _Problem) -> MeshError:
    error.add_note(f"{problem.type} {problem.code}: {(problem.message or '')[:DETAIL_CHARACTERS_MAX]}")
    return error


def _problem(body: bytes) -> _Problem:
    """Find the description of an error, wherever the server put it; garbage describes nothing."""
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
    except NOT_JSON:
        return _Problem()
    match envelope.error:
        case _Problem():
            return envelope.error
        case str():
            return _Problem(message=envelope.error)
        case None:
            return _Problem(message=envelope.message)
