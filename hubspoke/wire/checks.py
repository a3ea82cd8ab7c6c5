"""What several kinds of requests are checked for: lengths, names, and JSON that has to be JSON."""

from __future__ import annotations

import re
from typing import Final, TypeVar

import msgspec

from hubspoke.errors import InvalidRequest

SCHEMA_BYTES_MAX: Final = 256 * 1024
TOOL_NAME_CHARS_MAX: Final = 128
"""As long as Anthropic's may be: those of MCP servers begin with the server's name, and 64 are soon full."""
LEVELS_SPARE: Final = 50
"""How much deeper than it is JSON has to be readable: it ends up in the body of an engine's request, some levels down."""

_TOOL_NAME: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{TOOL_NAME_CHARS_MAX}}}")

T = TypeVar("T")


def short(field: str, value: str, bytes_max: int) -> str:
    """Give *value*; raise InvalidRequest when it is longer than that."""
    if len(value.encode()) > bytes_max:
        raise InvalidRequest(f"{field} is longer than {bytes_max} bytes")
    return value


def named(field: str, value: str) -> str:
    """Give the name of a tool; raise InvalidRequest when it is none that every engine can carry."""
    if not _TOOL_NAME.fullmatch(value):
        raise InvalidRequest(
            f"{field} is {value[:TOOL_NAME_CHARS_MAX]!r}; use 1 to {TOOL_NAME_CHARS_MAX} letters, digits, '_' and '-'"
        )
    return value


def schema(field: str, value: str) -> str:
    """Give a JSON schema as it is; raise InvalidRequest when it is too long, or no JSON object."""
    short(field, value, SCHEMA_BYTES_MAX)
    parse(field, value, dict[str, msgspec.Raw], "a JSON schema, which is a JSON object")
    return value


def parse(field: str, value: str, kind: type[T], what: str) -> T:
    """Read JSON of a certain *kind*; raise InvalidRequest when it is not *what* it has to be."""
    try:
        # Once without types: what is nested too deep is refused here, and not by whoever reads or writes it later.
        msgspec.json.decode("[" * LEVELS_SPARE + value + "]" * LEVELS_SPARE)
        return msgspec.json.decode(value, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidRequest(f"{field} is not {what}") from error
