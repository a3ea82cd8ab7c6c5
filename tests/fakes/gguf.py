"""GGUF files made by hand, sound ones and broken ones. Most are headers with no weights behind them."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from random import Random

STRING = 8
ARRAY = 9
ALIGNMENT = 32
PATCH = 14
SEEN = 16
_CODES = {4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q"}


@dataclass(frozen=True, slots=True)
class Typed:
    """A value as it lies in the file: its type's number, and itself."""

    kind: int
    value: object


def u32(value: int) -> Typed:
    return Typed(4, value)


def array(kind: int, *items: object) -> Typed:
    return Typed(ARRAY, (kind, items))


LLAMA: Mapping[str, Typed | str] = {
    "general.architecture": "llama",
    "general.name": "small",
    "general.file_type": u32(15),
    "llama.context_length": u32(4096),
    "llama.embedding_length": u32(512),
    "llama.block_count": u32(3),
    "llama.attention.head_count": u32(8),
    "llama.attention.head_count_kv": u32(2),
    "tokenizer.chat_template": "{{ messages }}",
}
"""A sound header: 3 layers of 2 heads x (64 + 64) x 2 bytes."""


def header(
    fields: Mapping[str, Typed | str] = LLAMA,
    tensors: Mapping[str, tuple[int, ...]] | None = None,
    version: int = 3,
) -> bytes:
    """Write a header with those fields, and tensors of those shapes."""
    shapes = {"token_embd.weight": (512, 100), "output_norm.weight": (512,)} if tensors is None else tensors
    parts = [b"GGUF", struct.pack("<IQQ", version, len(shapes), len(fields))]
    parts += [string(key) + _typed(value) for key, value in fields.items()]
    for name, shape in shapes.items():
        parts.append(string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, 0))
    return b"".join(parts)


def projector(embedding_length: int) -> bytes:
    """Write the smallest file that lets a model with embeddings of that length see: 28 x 28 points, 4 patches, no sense."""
    tensors = _projector_tensors(embedding_length)
    fields: dict[str, Typed | str] = {
        "general.architecture": "clip",
        "general.type": "mmproj",
        "general.file_type": u32(0),
        "clip.has_vision_encoder": Typed(7, True),  # noqa: FBT003
        "clip.projector_type": "mlp",
        "clip.use_gelu": Typed(7, True),  # noqa: FBT003
        "clip.vision.image_size": u32(28),
        "clip.vision.patch_size": u32(PATCH),
        "clip.vision.embedding_length": u32(SEEN),
        "clip.vision.feed_forward_length": u32(SEEN),
        "clip.vision.projection_dim": u32(embedding_length),
        "clip.vision.block_count": u32(1),
        "clip.vision.attention.head_count": u32(2),
        "clip.vision.attention.layer_norm_epsilon": Typed(6, 1e-5),
        "clip.vision.image_mean": array(6, 0.5, 0.5, 0.5),
        "clip.vision.image_std": array(6, 0.5, 0.5, 0.5),
    }
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(fields))]
    parts += [string(key) + _typed(value) for key, value in fields.items()]
    chance, offset, weights = Random(0), 0, b""
    for name, shape in tensors.items():
        parts.append(string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset))
        values = struct.pack(f"<{prod(shape)}f", *(chance.gauss(0, 0.1) for _ in range(prod(shape))))
        weights += values + bytes(-len(values) % ALIGNMENT)
        offset = len(weights)
    head = b"".join(parts)
    return head + bytes(-len(head) % ALIGNMENT) + weights


def _projector_tensors(embedding_length: int) -> dict[str, tuple[int, ...]]:
    block = ("attn_q", "attn_k", "attn_v", "attn_out", "ffn_up", "ffn_down")
    square = {f"v.blk.0.{name}": (SEEN, SEEN) for name in block}
    norms = [*("v.pre_ln", "v.post_ln", "v.blk.0.ln1", "v.blk.0.ln2")]
    mixed = {"mm.0": (SEEN, embedding_length), "mm.2": (embedding_length, embedding_length)}
    return {
        "v.class_embd": (SEEN,),
        "v.patch_embd.weight": (PATCH, PATCH, 3, SEEN),
        "v.position_embd.weight": (SEEN, 5),
        **{f"{name}.weight": shape for name, shape in (square | mixed).items()},
        **{f"{name}.bias": shape[1:] for name, shape in (square | mixed).items()},
        **{f"{name}.{kind}": (SEEN,) for name in norms for kind in ("weight", "bias")},
    }


def string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _typed(value: Typed | str) -> bytes:
    typed = Typed(STRING, value) if isinstance(value, str) else value
    return struct.pack("<I", typed.kind) + _bare(typed.kind, typed.value)


def _bare(kind: int, value: object) -> bytes:
    if isinstance(value, str):
        return string(value)
    if isinstance(value, tuple):
        of, items = value
        return struct.pack("<IQ", of, len(items)) + b"".join(_bare(of, item) for item in items)
    return struct.pack(_CODES[kind], value)
