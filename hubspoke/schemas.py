"""JSON schemas that nothing can fit, or that are none: found before an engine stumbles over them. Pure."""

from __future__ import annotations

from typing import Final

TYPES: Final = frozenset({"string", "number", "integer", "boolean", "null", "object", "array"})

_CHOICES: Final = ("enum", "anyOf", "oneOf", "allOf")
_VALUES: Final = frozenset({"enum", "const", "default", "examples", "example"})
"""Keywords below which there are values, and no schemas; a property of such a name is passed over with them."""


def fault_of(schema: object) -> str:
    """Say what is wrong with *schema*, as the end of a sentence that begins with its name; "" when nothing is found.

    Checked is what llama.cpp refuses to make a grammar of, and so Ollama and whatever else is built on it.
    """
    left = [schema]
    while left:
        part = left.pop()
        if isinstance(part, list):
            left += part
        elif isinstance(part, dict):
            fault = _fault(part)
            if fault:
                return fault
            left += [below for key, below in part.items() if key not in _VALUES]
    return ""


def _fault(part: dict[str, object]) -> str:
    for key in _CHOICES:
        # A dict is a property of that name, in a table of properties.
        if (
            key in part
            and not isinstance(part[key], dict)
            and (not part[key] or not isinstance(part[key], list))
        ):
            return f"has an {key} without anything to choose from, which nothing fits; give at least one, or leave it out"
    kind = part.get("type", "string")
    kinds = kind if isinstance(kind, list) else [kind]
    if not isinstance(kind, dict) and (
        not kinds or not all(isinstance(one, str) and one in TYPES for one in kinds)
    ):
        return f"has a type that JSON does not know; there are {', '.join(sorted(TYPES))}"
    return ""
