"""How much work a JSON schema makes, found out without doing it. Pure.

llama.cpp writes a schema out as a grammar, and all of a model's answers wait meanwhile: `refuse_large` is for that. And
references let a few lines of schema unfold into more visits than anybody can wait for, and whoever checks does not yield
meanwhile. So schemas whose references are not plain are refused, and the visits are counted first, each pair of a schema
and a value once. Keywords: https://json-schema.org/draft/2020-12, and those of older drafts that it replaced.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from spoke.engines.json_text import Json

PAIRS_MAX: Final = 20_000
"""Of schemas and values: some hundredths of a second of counting, up to a tenth on a slow machine."""
TEXT_STEP: Final = 16
"""So many characters against a pattern cost about as much as a visit."""

ENUM_MAX: Final = 2_000
"""A list of 3,000 keeps llama.cpp busy for a second, one of 20,000 for a minute."""
PROPERTIES_MAX: Final = 1_000
"""Of one object; llama.cpp's time grows with the square of those that are optional."""
REPEATS_MAX: Final = 100_000
"""Of items, characters or properties, as least and as most; llama.cpp takes for ever over a thousand million."""

_REPEATS: Final = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
_REFERENCE: Final = "$ref"
_REFUSED: Final = ("$dynamicRef", "$recursiveRef", "$anchor", "$dynamicAnchor", "$recursiveAnchor")
_OF_SAME_VALUE: Final = ("not", "if", "then", "else")
_LISTS_OF_SAME_VALUE: Final = ("allOf", "anyOf", "oneOf")
_TABLES_OF_SAME_VALUE: Final = ("dependentSchemas", "dependencies")
_OF_PROPERTIES: Final = ("additionalProperties", "unevaluatedProperties", "propertyNames")
_OF_ITEMS: Final = ("items", "additionalItems", "unevaluatedItems", "contains")
_LOOKS_TWICE: Final = ("unevaluatedProperties", "unevaluatedItems")


class Intricate(ValueError):
    """Too much work, or nobody can tell how much."""


def refuse_large(schema: Json) -> None:
    """Raise `Intricate` when *schema* lists or repeats more than an engine writes out in a moment."""
    left = [schema]
    while left:
        part = left.pop()
        if isinstance(part, list):
            left += part
        elif isinstance(part, dict):
            left += part.values()
            counts = (part.get(key) for key in _REPEATS)
            if (
                len(_list(part.get("enum"))) > ENUM_MAX
                or len(_table(part.get("properties"))) > PROPERTIES_MAX
                or any(isinstance(count, int | float) and count > REPEATS_MAX for count in counts)
            ):
                raise Intricate


class Schema:
    """A JSON schema; raises `Intricate` when it refers to anything but its own parts by their place."""

    def __init__(self, root: dict[str, Json]) -> None:
        self._root = root
        self._sizes: dict[int, float] = {}
        self._open: set[int] = set()
        try:
            self.visits_of_a_value = self._size(root)
            """Visits that one value costs at most; infinite when the schema refers to itself."""
        except RecursionError as error:
            raise Intricate from error

    def visits(self, value: Json) -> float:
        """Say how many visits *value* costs at most; raise `Intricate` when even counting them takes too long."""
        try:
            return _Count(self).of(self._root, value)
        except RecursionError as error:
            raise Intricate from error

    def of_same_value(self, schema: dict[str, Json]) -> Iterator[dict[str, Json]]:
        """Give the schemas that *schema* applies to the very value that it is applied to."""
        if _REFERENCE in schema:
            yield from _schemas([self._target(schema[_REFERENCE])])
        yield from _schemas(schema.get(key) for key in _OF_SAME_VALUE)
        for key in _LISTS_OF_SAME_VALUE:
            yield from _schemas(_list(schema.get(key)))
        for key in _TABLES_OF_SAME_VALUE:
            yield from _schemas(_table(schema.get(key)).values())

    def _size(self, schema: dict[str, Json]) -> float:
        """Count *schema* and all that is applied below it, as often as it is."""
        key = id(schema)
        if key in self._open:
            return math.inf
        if key not in self._sizes:
            if any(word in schema for word in _REFUSED) or ("$id" in schema and schema is not self._root):
                raise Intricate
            self._open.add(key)
            again = 2 if any(word in schema for word in _LOOKS_TWICE) else 1
            same = sum(self._size(part) for part in self.of_same_value(schema))
            self._sizes[key] = 1 + again * same + sum(self._size(part) for part in _below(schema))
            self._open.remove(key)
        return self._sizes[key]

    def _target(self, reference: Json) -> Json:
        """Follow a JSON pointer, https://www.rfc-editor.org/rfc/rfc6901; raise `Intricate` for any other reference."""
        if not isinstance(reference, str) or (reference != "#" and not reference.startswith("#/")):
            raise Intricate
        found: Json = self._root
        for step in reference.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and name in found:
                found = found[name]
            elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
            else:
                raise Intricate
        return found


class _Count:
    """Counts the visits of one value and its parts."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._counted: dict[tuple[int, int], float] = {}

    def of(self, schema: dict[str, Json], value: Json) -> float:
        pair = id(schema), id(value)
        if pair not in self._counted:
            if len(self._counted) >= PAIRS_MAX:
                raise Intricate
            self._counted[pair] = (
                0  # a schema that comes back to itself with the same value is not visited again
            )
            again = 2 if any(word in schema for word in _LOOKS_TWICE) else 1
            same = sum(self.of(part, value) for part in self._schema.of_same_value(schema))
            parts = sum(self.of(part, item) for part, item in _applied(schema, value))
            self._counted[pair] = _own(schema, value) + again * same + parts
        return self._counted[pair]


def _own(schema: Mapping[str, Json], value: Json) -> int:
    """Reckon what a visit costs by itself."""
    cost = 1 + len(_list(schema.get("enum")))
    if isinstance(value, str) and "pattern" in schema:
        cost += len(value) // TEXT_STEP
    return cost


def _applied(schema: Mapping[str, Json], value: Json) -> Iterator[tuple[dict[str, Json], Json]]:
    """Give what *schema* applies to the parts of *value*."""
    if isinstance(value, dict):
        named = _table(schema.get("properties"))
        yield from ((part, value[name]) for name in value for part in _schemas([named.get(name)]))
        everywhere = [
            *_schemas(_table(schema.get("patternProperties")).values()),
            *_schemas(schema.get(key) for key in _OF_PROPERTIES),
        ]
        yield from ((part, item) for item in value.values() for part in everywhere)
    elif isinstance(value, list):
        for key in ("prefixItems", "items"):
            placed = _list(schema.get(key))
            pairs = zip(placed, value, strict=False)
            yield from ((part, item) for place, item in pairs for part in _schemas([place]))
        everywhere = [*_schemas(schema.get(key) for key in _OF_ITEMS)]
        yield from ((part, item) for item in value for part in everywhere)


def _below(schema: Mapping[str, Json]) -> Iterator[dict[str, Json]]:
    """Give the schemas that *schema* applies to parts of its value."""
    for key in ("properties", "patternProperties"):
        yield from _schemas(_table(schema.get(key)).values())
    yield from _schemas(schema.get(key) for key in (*_OF_PROPERTIES, *_OF_ITEMS))
    for key in ("prefixItems", "items"):
        yield from _schemas(_list(schema.get(key)))


def _schemas(found: Iterable[Json]) -> Iterator[dict[str, Json]]:
    """Leave out what costs nothing: what is absent, and the schemas `true` and `false`."""
    return (schema for schema in found if isinstance(schema, dict))


def _list(found: Json) -> list[Json]:
    return found if isinstance(found, list) else []


def _table(found: Json) -> dict[str, Json]:
    return found if isinstance(found, dict) else {}
