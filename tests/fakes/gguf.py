"""GGUF headers made by hand, sound ones and broken ones. There are no weights behind them."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

STRING = 8
ARRAY = 9
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
