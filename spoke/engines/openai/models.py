"""The list of models, as servers of the OpenAI HTTP API give it. Pure.

Only the ids are sure to be there. Some servers also tell how long the context is, each under another name; whose the
models are, which tells the servers apart; and what goes into a model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from hubspoke.errors import EngineProtocol
from hubspoke.types import Capability
from spoke.engines.json_text import NOT_JSON
from spoke.engines.openai.dialect import BY_OWNER, PLAIN, Dialect

MODELS_MAX: Final = 500
"""More than that is a shop and no engine; what is beyond is left out."""
NAME_BYTES_MAX: Final = 256
CONTEXT_TOKENS_MAX: Final = 1 << 27


@dataclass(frozen=True, slots=True)
class Served:
    """A model that a server has; 0 tokens of context is unknown.

    It is sure to be capable of what is *known*, and not to be of what is *lacking*; the settings tell the rest.
    """

    name: str
    context_tokens: int = 0
    dialect: Dialect = PLAIN
    known: frozenset[Capability] = frozenset()
    lacking: frozenset[Capability] = frozenset()

    def capabilities(self, configured: frozenset[Capability]) -> frozenset[Capability]:
        """Say what it can be asked for, when its server's settings say *configured*."""
        return (configured | self.known) - self.lacking


class _Meta(msgspec.Struct):
    n_ctx: object = None  # llama-server: of each slot


class _Listed(msgspec.Struct):
    id: str
    owned_by: object = None
    architecture: object = None  # llama-server: what goes into it, "text" and "image"
    max_model_len: object = None  # vLLM and SGLang
    meta: _Meta | None = None


class _Listing(msgspec.Struct):
    data: list[_Listed]


def served(body: bytes) -> tuple[Served, ...]:
    """Read a list of models; leave out those whose names the mesh cannot carry. Raise EngineProtocol for garbage."""
    try:
        listing = msgspec.json.decode(body, type=_Listing)
    except NOT_JSON as error:
        raise EngineProtocol("the engine's list of models makes no sense") from error
    names: dict[str, Served] = {}
    for listed in listing.data:
        if is_name(listed.id):
            names.setdefault(listed.id, _served(listed))
    return tuple(names.values())[:MODELS_MAX]


def is_name(text: str) -> bool:
    """Whether the mesh can carry *text* as the name of a model."""
    return 0 < len(text.encode("utf-8", errors="replace")) <= NAME_BYTES_MAX and text.isprintable()


def _served(listed: _Listed) -> Served:
    owner = listed.owned_by
    dialect = BY_OWNER.get(owner, PLAIN) if isinstance(owner, str) else PLAIN
    known = {Capability.SAMPLING} if dialect.knows_sampling else set()
    told = listed.architecture.get("input_modalities") if isinstance(listed.architecture, dict) else None
    if isinstance(told, list) and "image" in told:
        known.add(Capability.VISION)
    return Served(listed.id, _context_tokens(listed), dialect, frozenset(known))


def _context_tokens(listed: _Listed) -> int:
    told = (listed.max_model_len, listed.meta and listed.meta.n_ctx)
    sound = (tokens for tokens in told if type(tokens) is int and 0 < tokens <= CONTEXT_TOKENS_MAX)
    return next(sound, 0)
