"""Requests as Ollama wants them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spoke.engines.openai_body import SEEDS

if TYPE_CHECKING:
    from hubspoke.types import Request, Sampling
    from spoke.engines.openai_body import Json

NO_LIMIT: Final = -1


def messages(request: Request) -> list[dict[str, str]]:
    """Give the conversation, turn by turn."""
    return [{"role": turn.speaker.value, "content": turn.text} for turn in request.messages]


def load_options(context_tokens: int) -> dict[str, Json]:
    """Give what belongs to a loaded model and not to a request.

    Every request repeats it: Ollama loads a model anew when one of these differs from what it was loaded with.
    """
    return {"num_ctx": context_tokens}


def request_options(request: Request, context_tokens: int) -> dict[str, Json]:
    """Give all options of a request. Where it sets no limit, the limit that a model's author may have set is lifted."""
    options = load_options(context_tokens) | _sampling(request.sampling)
    options["num_predict"] = request.max_output_tokens or NO_LIMIT
    if request.stop:
        options["stop"] = list(request.stop)
    return options


def _sampling(sampling: Sampling) -> dict[str, Json]:
    named: dict[str, Json] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "seed": None if sampling.seed is None else sampling.seed % SEEDS,
    }
    return {name: value for name, value in named.items() if value is not None}
