"""Bodies that resemble real ones: drawn from what a dialect says that it takes, with the words that clients use."""

import base64
from functools import cache
from typing import Final

import msgspec
from msgspec import inspect

from tests.fuzz.draw import Draw

DEPTH_MAX: Final = 5
"""Of blocks in blocks."""

PNG: Final = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(16)).decode()
PICTURES: Final = (
    PNG,
    f"data:image/png;base64,{PNG}",
    "data:image/png;base64,",
    "https://a/b.png",
    "?",
    "aGk=",
)
IDS: Final = ("call_1", "call_2", "", "call_0")
NAMES: Final = ("weather", "clock", "no name", "")
MODELS: Final = ("tiny", "tiny:latest", "", "tiny\x1b")

WORDS: Final[dict[str, tuple[object, ...]]] = {
    "model": MODELS,
    "role": ("user", "assistant", "system", "tool", "developer", "nobody"),
    "type": (
        *("text", "function", "message", "tool_use", "tool_result", "image", "input_image", "image_url"),
        *("input_text", "output_text", "function_call", "function_call_output", "reasoning", "thinking"),
        *("json_schema", "json_object", "enabled", "disabled", "adaptive", "base64", "auto", "any", "tool"),
        *("none", "custom", "redacted_thinking", "document"),
    ),
    "name": NAMES,
    "tool_name": NAMES,
    **dict.fromkeys(("id", "call_id", "tool_call_id", "tool_use_id"), IDS),
    **dict.fromkeys(("url", "image_url", "data", "images"), PICTURES),
    "arguments": ("{}", '{"a": 1}', "", "{", "[]", '{"a": 1e999}', '{"a": "\\ud800"}', "[" * 1100),
    "tool_choice": ("auto", "none", "required", "weather"),
    **dict.fromkeys(("effort", "reasoning_effort", "think"), ("low", "high", "none", "xhigh", "ever")),
    "format": ("json", "", "xml"),
    "encoding_format": ("float", "base64", "int8"),
    "keep_alive": ("0s", "5m", "-1", "0.0ms"),
}


def body_like(draw: Draw, kind: type[msgspec.Struct]) -> object:
    """Draw what resembles a body of that *kind*: now and then something is left out, or is what it must not be."""
    return _of(draw, _known(kind), "", 0)


@cache
def _known(kind: type[msgspec.Struct]) -> inspect.Type:
    return inspect.type_info(kind)


def _of(draw: Draw, kind: inspect.Type, name: str, depth: int) -> object:  # one for each kind
    if draw.byte() % 64 == 63:
        return draw.json()
    match kind:
        case inspect.StructType():
            return _struct(draw, kind, depth)
        case inspect.UnionType():
            return _of(draw, draw.one_of(kind.types), name, depth)
        case inspect.ListType():
            return draw.many(lambda: _of(draw, kind.item_type, name, depth)) if depth < DEPTH_MAX else []
        case inspect.DictType():
            return _schema(draw)
        case _:
            return _plain(draw, kind, name)


def _plain(draw: Draw, kind: inspect.Type, name: str) -> object:
    match kind:
        case inspect.StrType():
            words = WORDS.get(name, ())
            return draw.text() if not words or draw.rarely() else draw.one_of(words)
        case inspect.BoolType():
            return draw.flag()
        case inspect.IntType() | inspect.FloatType():
            return draw.number()
        case inspect.NoneType():
            return None
        case _:
            return draw.json()


def _struct(draw: Draw, kind: inspect.StructType, depth: int) -> object:
    content: dict[str, object] = {}
    for field in kind.fields:
        is_there = not draw.rarely() if field.required else draw.byte() % 4 == 1
        if is_there:
            content[field.encode_name] = _of(draw, field.type, field.encode_name, depth + 1)
    return content


def _schema(draw: Draw) -> object:
    """Draw a JSON schema, arguments or the like: an object, whose values may be larger or deeper than is good."""
    return draw.object() if draw.flag() else {"type": "object", "properties": {"a": draw.json()}}
