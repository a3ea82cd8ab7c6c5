"""What Ollama says of its models, as ours. Pure, and distrustful: one field that the hub refuses costs all of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hubspoke.types import Capability, Loaded, LoadPlan
from spoke.engines.openai.models import CONTEXT_TOKENS_MAX, NAME_BYTES_MAX, is_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ollama import ListResponse, ProcessResponse, ShowResponse

MODELS_MAX: Final = 500
BYTES_MAX: Final = 1 << 50
COUNT_MAX: Final = 2**63 - 1
LAYERS_MAX: Final = 4096
DEFAULT_TAG: Final = ":latest"
CLOUD_TAG: Final = "cloud"
WEIGHTS_BYTES_MIN: Final = 64 * 1024
"""A model that is smaller on disk has no weights there: it is one of those that Ollama runs in its cloud."""
KV_BYTES: Final = 2
"""Ollama keeps keys and values as 16-bit numbers, unless OLLAMA_KV_CACHE_TYPE says less."""

_HEX_DIGEST: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_CAPABILITIES: Final = {
    # What belongs to the server and not to the model comes with it: formats since 0.5, all ways to sample long before.
    "completion": frozenset(
        {Capability.CHAT, Capability.COMPLETION, Capability.JSON_SCHEMA, Capability.SAMPLING}
    ),
    "embedding": frozenset({Capability.EMBED}),
    "tools": frozenset({Capability.TOOLS}),
    "vision": frozenset({Capability.VISION}),
    "thinking": frozenset({Capability.THINKING}),
}
"""By what a server says that tells capabilities, as all do since 0.6.4."""
_CAPABILITIES_UNTOLD: Final = frozenset({Capability.CHAT, Capability.COMPLETION})
"""What can be asked of a model that writes, of a server that is older than that, and may be much older."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A model on Ollama's disk. `short` is what people call it, without the tag that every name has by default."""

    short: str
    digest: str
    size_bytes: int
    family: str
    quantisation: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What a model is, which does not change while its digest stays; 0 is unknown."""

    capabilities: frozenset[Capability]
    parameters: int = 0
    context_tokens_max: int = 0
    kv_bytes_per_token: int = 0


def listed(listing: ListResponse) -> tuple[Listed, ...]:
    """Give the models that Ollama itself can run. Those of its cloud are left out: a private mesh sends nothing away."""
    found = (_listed(model) for model in listing.models)
    return tuple(model for model in found if model is not None)[:MODELS_MAX]


def loaded(processes: ProcessResponse, slots: int, expected: Mapping[str, int]) -> dict[str, Loaded]:
    """Give what is in memory, by short name. What of it is not on cards is in main memory, and the processor works on it.

    *expected* are the contexts that were asked for: servers before 0.10 do not say which one a model has.
    """
    found: dict[str, Loaded] = {}
    for process in processes.models:
        name = short(process.model or process.name or "")
        context_tokens = process.context_length or expected.get(name, 0)
        if not 0 < context_tokens <= CONTEXT_TOKENS_MAX:
            continue
        size = _within(process.size, BYTES_MAX)
        vram = None if process.size_vram is None else _within(process.size_vram, BYTES_MAX)
        found[name] = Loaded(slots, context_tokens, memory_bytes=size, vram_bytes=vram)
    return found


def facts(shown: ShowResponse) -> Facts:
    """Give what a model is, by its header and by what Ollama makes of it."""
    info = _Info(shown.modelinfo or {})
    architecture = info.text("general.architecture")
    known = (_CAPABILITIES.get(named, frozenset()) for named in shown.capabilities or ())
    capabilities: frozenset[Capability] = frozenset().union(*known)
    if Capability.CHAT not in capabilities:
        # Ollama reads tools and thinking off the template, also of a model that it only lets make vectors.
        capabilities &= _CAPABILITIES["embedding"]
    if shown.capabilities is None:
        makes_vectors = info.number(f"{architecture}.pooling_type") > 0
        capabilities = _CAPABILITIES["embedding"] if makes_vectors else _CAPABILITIES_UNTOLD
    return Facts(
        capabilities=capabilities,
        parameters=info.number("general.parameter_count"),
        context_tokens_max=min(info.number(f"{architecture}.context_length"), CONTEXT_TOKENS_MAX),
        kv_bytes_per_token=min(_kv_bytes_per_token(info, architecture), BYTES_MAX),
    )


def plan(of_all: LoadPlan, known: Facts) -> LoadPlan:
    """Give the plan for one model: no more context than it was made for."""
    limit = known.context_tokens_max or of_all.context_tokens
    return LoadPlan(of_all.slots, min(of_all.context_tokens, limit))


def is_of_cloud(name: str) -> bool:
    """Whether *name* means a model that Ollama does not run here but in its cloud."""
    tag = name.rpartition("/")[2].partition(":")[2].strip().lower()
    return tag == CLOUD_TAG or tag.endswith((f"-{CLOUD_TAG}", f":{CLOUD_TAG}"))


def short(name: str) -> str:
    """Give the name without the tag that Ollama adds where there is none."""
    return name.removesuffix(DEFAULT_TAG)


class _Info:
    """The fields of a model's header, each checked for its type when it is asked for."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def text(self, key: str) -> str:
        value = self._values.get(key)
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> int:
        """Give a whole number; 0 when it is missing, or a list, which Ollama does not show."""
        value = self._values.get(key)
        return value if type(value) is int and 0 <= value <= COUNT_MAX else 0


def _listed(model: ListResponse.Model) -> Listed | None:
    name = model.model or ""
    size_bytes = _within(model.size, BYTES_MAX)
    if not is_name(name) or size_bytes < WEIGHTS_BYTES_MIN or is_of_cloud(name):
        return None
    digest = _HEX_DIGEST.fullmatch(model.digest or "")
    details = model.details
    return Listed(
        short=short(name),
        digest="" if digest is None else f"sha256:{digest[1]}",
        size_bytes=size_bytes,
        family=_label(None if details is None else details.family),
        quantisation=_label(None if details is None else details.quantization_level),
    )


def _kv_bytes_per_token(info: _Info, architecture: str) -> int:
    """Reckon the keys and values of all layers: heads x (key + value) x `KV_BYTES`; 0 when the header does not tell.

    Layers with a sliding window need less, so this is an upper bound.
    """
    layers = info.number(f"{architecture}.block_count")
    heads = info.number(f"{architecture}.attention.head_count")
    if not 0 < layers <= LAYERS_MAX or heads == 0:
        return 0
    kv_heads = info.number(f"{architecture}.attention.head_count_kv") or heads
    per_head = info.number(f"{architecture}.embedding_length") // heads
    key = info.number(f"{architecture}.attention.key_length") or per_head
    value = info.number(f"{architecture}.attention.value_length") or per_head
    return layers * kv_heads * (key + value) * KV_BYTES


def _label(text: str | None) -> str:
    is_sound = text is not None and text.isprintable() and len(text.encode()) <= NAME_BYTES_MAX
    return text if is_sound and text is not None else ""


def _within(value: int | None, most: int) -> int:
    return min(max(int(value or 0), 0), most)
