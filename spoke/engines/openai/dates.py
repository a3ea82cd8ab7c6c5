"""Dates that exist: llama.cpp draws a 31st of every month for a `format` of dates. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from spoke.engines.json_text import Json

_DAY: Final = (
    "[1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|"
    "02-(0[1-9]|1[0-9]|2[0-8]))"
)
"""A day by RFC 3339 that every calendar has: 29 February is left out, for a pattern knows no leap years."""

_HOUR: Final = "([01][0-9]|2[0-3])"
_PATTERNS: Final = {
    "date": f"^{_DAY}$",
    "date-time": f"^{_DAY}T{_HOUR}:[0-5][0-9]:[0-5][0-9](Z|[+-]{_HOUR}:[0-5][0-9])$",
}
_VALUES: Final = frozenset({"enum", "const", "default", "examples", "example"})
"""Keywords below which there are values, and no schemas."""


def with_real_dates(schema: Json) -> Json:
    """Give *schema* with a pattern beside each format of dates that has none."""
    if isinstance(schema, list):
        return [with_real_dates(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: part if key in _VALUES else with_real_dates(part) for key, part in schema.items()}
    wanted = made.get("format")
    if isinstance(wanted, str) and wanted in _PATTERNS and "pattern" not in made:
        made["pattern"] = _PATTERNS[wanted]
    return made
