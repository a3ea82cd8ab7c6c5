"""JSON that engines and models write: what it may be, and what may become of it."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

NOT_JSON: Final = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What reading it raises when it is none, has other fields than it should, or is nested too deep."""
