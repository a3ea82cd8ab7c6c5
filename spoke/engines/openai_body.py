"""Requests as servers of the OpenAI HTTP API want them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from hubspoke.types import Request, Sampling

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

CHAT_PATH: Final = "/v1/chat/completions"
COMPLETION_PATH: Final = "/v1/completions"

# 32 bits is what every server takes, and llama.cpp reads the largest of them as "any seed".
SEEDS: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Call:
    """What to send, and where to."""

    path: str
    body: dict[str, Json]


def streamed(model: str, request: Request) -> Call:
    """Ask *model* for a stream with the usage at its end. What the request leaves open is not mentioned."""
    body: dict[str, Json] = {"model": model, "stream": True, "stream_options": {"include_usage": True}}
    if request.messages:
        body["messages"] = [{"role": turn.speaker.value, "content": turn.text} for turn in request.messages]
    else:
        body["prompt"] = request.prompt
    body |= _sampling(request.sampling)
    if request.max_output_tokens:
        body["max_tokens"] = request.max_output_tokens
    if request.stop:
        body["stop"] = list(request.stop)
    return Call(CHAT_PATH if request.messages else COMPLETION_PATH, body)


def _sampling(sampling: Sampling) -> dict[str, Json]:
    """`top_k` and `min_p` are not OpenAI's own, but common; a server that lacks them says so."""
    named: dict[str, Json] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "seed": None if sampling.seed is None else sampling.seed % SEEDS,
    }
    return {name: value for name, value in named.items() if value is not None}
