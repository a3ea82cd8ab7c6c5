"""The header of a GGUF file: what kind of model it holds, without its weights.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian. The file may come
from anywhere, so every length is checked before it is used.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Final, TypeAlias

from hubspoke.errors import LoadFailed
from spoke.core import templates

if TYPE_CHECKING:
    from typing import BinaryIO

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)
FIELDS_MAX: Final = 10_000
TENSORS_MAX: Final = 100_000
DIMENSIONS_MAX: Final = 4
HEADER_BYTES_MAX: Final = 256 * 1024 * 1024
STRING_BYTES_MAX: Final = 16 * 1024 * 1024
ARRAY_ITEMS_MAX: Final = 2_000_000
"""Vocabularies have up to 300,000 tokens, and more merges than tokens."""
ARRAY_ITEMS_KEPT: Final = 4096
NESTING_MAX: Final = 4
COUNT_MAX: Final = 2**31 - 1
PARAMETERS_MAX: Final = 2**63 - 1
KV_BYTES: Final = 2
"""llama.cpp keeps keys and values as 16-bit numbers."""

RANKING: Final = 4
"""The way of pooling that gives one number for two texts."""
TEMPLATE: Final = "tokenizer.chat_template"

_STRING: Final = 8
_ARRAY: Final = 9
_SCALARS: Final = {
    number: struct.Struct(f"<{code}")
    for number, code in {
        0: "B",
        1: "b",
        2: "H",
        3: "h",
        4: "I",
        5: "i",
        6: "f",
        7: "?",
        10: "Q",
        11: "q",
        12: "d",
    }.items()
}
_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")

_QUANTISATIONS: Final = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1",
    10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M",
    18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16",
    36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4", 39: "NVFP4",
}  # fmt: skip

Scalar: TypeAlias = str | int | float | bool
Value: TypeAlias = Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Header:
    """What a model says of itself; 0 and "" are unknown."""

    architecture: str
    name: str = ""
    kind: str = ""
    """"model" or nothing for a whole model; parts of one say what they are."""
    quantisation: str = ""
    parameters: int = 0
    context_tokens_max: int = 0
    kv_bytes_per_token: int = 0
    has_chat_template: bool = False
    calls_tools: bool = False
    """Whether the chat template knows of tools."""
    thinks: bool = False
    """Whether the chat template knows of thinking."""
    makes_vectors: bool = False
    files: int = 1
    """Over how many files the model is split."""


def read_header(file: BinaryIO) -> Header:
    """Read the header that *file* begins with; raise LoadFailed when there is none that makes sense."""
    reader = _Reader(file)
    if reader.take(len(MAGIC)) != MAGIC:
        raise LoadFailed("the file is no GGUF model")
    version = reader.u32()
    if version not in VERSIONS:
        raise LoadFailed(f"the file has GGUF version {version}, and only 2 and 3 are known here")
    tensors = reader.count(TENSORS_MAX, "tensors")
    fields = _Fields(reader.fields(reader.count(FIELDS_MAX, "fields")))
    return _describe(fields, sum(reader.tensor_elements() for _ in range(tensors)))


class _Reader:
    """Reads the pieces that the format is made of, and refuses what cannot be true."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = HEADER_BYTES_MAX

    def take(self, size: int) -> bytes:
        """Read *size* bytes, which the caller has found to be few enough to ask for."""
        self._left -= size
        if self._left < 0:
            raise LoadFailed(f"the file's header is larger than {HEADER_BYTES_MAX} bytes")
        data = self._file.read(size)
        if len(data) != size:
            raise LoadFailed("the file ends in the middle of its header")
        return data

    def u32(self) -> int:
        return int(_U32.unpack(self.take(_U32.size))[0])

    def count(self, limit: int, what: str) -> int:
        (count,) = _U64.unpack(self.take(_U64.size))
        if count > limit:
            raise LoadFailed(f"the file's header claims {count} {what}, and {limit} is the limit")
        return int(count)

    def string(self) -> str:
        return self.take(self.count(STRING_BYTES_MAX, "bytes of text")).decode("utf-8", errors="replace")

    def fields(self, count: int) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for _ in range(count):
            key = self.string()
            if key in found:
                raise LoadFailed("the file's header has a field twice")
            found[key] = self._value(self.u32(), nesting=0)
        return found

    def tensor_elements(self) -> int:
        self.string()
        dimensions = self.u32()
        if dimensions > DIMENSIONS_MAX:
            raise LoadFailed(f"the file has a tensor of {dimensions} dimensions")
        elements = prod(self.count(PARAMETERS_MAX, "elements") for _ in range(dimensions))
        self.take(_U32.size + _U64.size)  # its type, and where it lies
        if elements > PARAMETERS_MAX:
            raise LoadFailed("the file has a tensor that no machine could hold")
        return elements

    def _value(self, kind: int, nesting: int) -> Value:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            return self._array(nesting + 1)
        scalar = _SCALARS.get(kind)
        if scalar is None:
            raise LoadFailed(f"the file's header has a value of the unknown type {kind}")
        value: Scalar = scalar.unpack(self.take(scalar.size))[0]
        return value

    def _array(self, nesting: int) -> tuple[Scalar, ...]:
        """Read an array; nobody needs a long or nested one, so those come back empty."""
        if nesting > NESTING_MAX:
            raise LoadFailed("the file's header has arrays in arrays in arrays")
        kind = self.u32()
        items = self.count(ARRAY_ITEMS_MAX, "items of a list")
        scalar = _SCALARS.get(kind)
        if scalar is not None:
            data = self.take(items * scalar.size)
            return tuple(item for (item,) in scalar.iter_unpack(data)) if items <= ARRAY_ITEMS_KEPT else ()
        for _ in range(items):
            if kind == _STRING:  # most of a header is its vocabulary, so it is not even decoded
                self.take(self.count(STRING_BYTES_MAX, "bytes of text"))
            else:
                self._value(kind, nesting)
        return ()


class _Fields:
    """The fields of a header, each checked for its type when it is asked for."""

    def __init__(self, values: dict[str, Value]) -> None:
        self._values = values

    def text(self, key: str) -> str:
        value = self._values.get(key, "")
        if not isinstance(value, str):
            raise LoadFailed(f"the file's header has no text in {key}")
        return value

    def number(self, key: str) -> int:
        """Give a whole number, 0 when it is missing."""
        return self._number(key, self._values.get(key, 0))

    def numbers(self, key: str, count: int) -> tuple[int, ...]:
        """Give *count* whole numbers, however they are written: all of them, or one for all."""
        value = self._values.get(key, 0)
        if not isinstance(value, tuple):
            return (self._number(key, value),) * count
        if len(value) != count:
            raise LoadFailed(f"the file's header has {len(value)} numbers in {key} for {count} layers")
        return tuple(self._number(key, item) for item in value)

    def has(self, key: str) -> bool:
        return key in self._values

    @staticmethod
    def _number(key: str, value: Value) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= COUNT_MAX:
            raise LoadFailed(f"the file's header has no sensible number in {key}")
        return value


def _describe(fields: _Fields, parameters: int) -> Header:
    architecture = fields.text("general.architecture")
    if not architecture:
        raise LoadFailed("the file's header does not name an architecture")
    template = fields.text(TEMPLATE)
    pooling = fields.number(f"{architecture}.pooling_type")
    if pooling == RANKING:
        raise LoadFailed("the model ranks texts, and makes neither answers nor vectors")
    return Header(
        architecture=architecture,
        name=fields.text("general.name"),
        kind=fields.text("general.type"),
        quantisation=_quantisation(fields),
        parameters=min(parameters, PARAMETERS_MAX),
        context_tokens_max=fields.number(f"{architecture}.context_length"),
        kv_bytes_per_token=_kv_bytes_per_token(fields, architecture),
        has_chat_template=fields.has(TEMPLATE),
        calls_tools=templates.knows_tools(template),
        thinks=templates.knows_thinking(template),
        makes_vectors=pooling > 0,
        files=max(1, fields.number("split.count")),
    )


def _quantisation(fields: _Fields) -> str:
    key = "general.file_type"
    return _QUANTISATIONS.get(fields.number(key), "") if fields.has(key) else ""


def _kv_bytes_per_token(fields: _Fields, architecture: str) -> int:
    """Sum the keys and values of every layer: heads x (key + value) x `KV_BYTES`; 0 when the header does not tell.

    Layers with a sliding window need less, so this is an upper bound.
    """
    layers = fields.number(f"{architecture}.block_count")
    if layers > ARRAY_ITEMS_KEPT:
        raise LoadFailed(f"the file's header claims {layers} layers")
    heads = fields.numbers(f"{architecture}.attention.head_count", layers)
    heads_max = max(heads, default=0)
    if heads_max == 0:
        return 0
    kv_key = f"{architecture}.attention.head_count_kv"
    kv_heads = fields.numbers(kv_key, layers) if fields.has(kv_key) else heads
    per_head = fields.number(f"{architecture}.embedding_length") // heads_max
    key_length = fields.number(f"{architecture}.attention.key_length") or per_head
    value_length = fields.number(f"{architecture}.attention.value_length") or per_head
    return sum(kv_heads) * (key_length + value_length) * KV_BYTES
