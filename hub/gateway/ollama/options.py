"""Ollama's `options`: what is honoured, what is a hint, and what is refused.

Honoured: num_predict, temperature, top_k, top_p, min_p, seed, stop, repeat_penalty, presence_penalty and
frequency_penalty. What Ollama takes for "no limit" (num_predict and top_k below 1) and "any seed" (-1) means the same here.

Hints, which are taken and change nothing: those that say how a model is loaded (num_ctx, num_batch, num_gpu, main_gpu,
num_thread, numa, low_vram, f16_kv, use_mmap, use_mlock, vocab_only, logits_all), since the spoke that has the model
decides that for everybody who asks it; and num_keep, since nothing is ever dropped from the front of a full context. Where
num_ctx asks for more than there is, no answer changes in silence: what does not fit is refused, and an answer that fills the
context ends with the reason "length".

Refused, unless they say what is done anyway: mirostat, tfs_z, typical_p, repeat_last_n, penalize_newline and logit_bias.
They change which tokens are drawn, and no engine of the mesh is told of them.

Names that Ollama does not know either are passed over, as it does.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from hubspoke.errors import InvalidRequest, Unsupported
from hubspoke.types import Sampling

Number: TypeAlias = int | float

ANY_SEED: Final = -1
ALL_TOKENS: Final = 2**31 - 1
"""A `top_k` that leaves no token out, as engines count them."""

_AS_DONE: Final[dict[str, frozenset[object]]] = {
    "mirostat": frozenset({0}),
    "tfs_z": frozenset({1}),
    "typical_p": frozenset({1}),
    "repeat_last_n": frozenset({64}),
    "penalize_newline": frozenset({True}),
}
"""What would be refused, with the values that ask for nothing else than what is done anyway."""


class Options(msgspec.Struct, kw_only=True):
    """The options that an answer depends on."""

    num_predict: Number | None = None
    temperature: float | None = None
    top_k: Number | None = None
    top_p: float | None = None
    min_p: float | None = None
    seed: Number | None = None
    stop: str | list[str] | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    mirostat: Number | None = None
    tfs_z: Number | None = None
    typical_p: Number | None = None
    repeat_last_n: Number | None = None
    penalize_newline: bool | None = None
    logit_bias: object = None


def check(options: Options) -> None:
    """Raise Unsupported for an option that no engine of the mesh is told of."""
    for name, as_done in _AS_DONE.items():
        value: object = getattr(options, name)
        if value is not None and value not in as_done:
            raise Unsupported(f"options.{name}: this mesh does not draw tokens that way; leave it out")
    if options.logit_bias:
        raise Unsupported("options.logit_bias: this mesh does not bias single tokens; leave it out")


def sampling(options: Options) -> Sampling:
    """Say how tokens are to be drawn."""
    top_k, seed = _whole("top_k", options.top_k), _whole("seed", options.seed)
    return Sampling(
        temperature=options.temperature,
        top_p=options.top_p,
        top_k=ALL_TOKENS if top_k is not None and top_k < 1 else top_k,
        min_p=options.min_p,
        seed=None if seed == ANY_SEED else seed,
        frequency_penalty=options.frequency_penalty,
        presence_penalty=options.presence_penalty,
        repeat_penalty=options.repeat_penalty,
    )


def limit(options: Options) -> int:
    """Say how many tokens an answer may have; 0 is no limit."""
    return max(_whole("num_predict", options.num_predict) or 0, 0)


def stops(options: Options) -> tuple[str, ...]:
    """Say which texts end an answer."""
    return (options.stop,) if isinstance(options.stop, str) else tuple(options.stop or ())


def _whole(name: str, value: Number | None) -> int | None:
    # Some languages know no integers, and write 40.0.
    if value is not None and value != int(value):
        raise InvalidRequest(f"options.{name} is {value}; give a whole number")
    return None if value is None else int(value)
