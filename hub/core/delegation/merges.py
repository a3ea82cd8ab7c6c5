"""The result from the answers by rule, with no model: one after the other, as a table, or added up."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

from hub.core.delegation.quotes import is_not_found
from hubspoke.errors import InvalidOutput
from hubspoke.types import Merge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hubspoke.types import SubtaskId

_NUMBER: Final = re.compile(r"-?\d{1,30}(?:\.\d{1,20})?")
_GROUPS: Final = re.compile(r"(?<=\d)[, \u00a0\u202f'](?=\d{3}(?:\D|$))")
"""Signs between groups of three digits."""


class Output(NamedTuple):
    """What a subtask gave."""

    id: SubtaskId
    text: str


def merged(merge: Merge, outputs: Sequence[Output]) -> str:
    """Make the result of *outputs*, in their order; what was not found adds nothing.

    Raise InvalidOutput for an answer that cannot be merged that way.
    """
    return _RULES[merge]([one for one in outputs if not is_not_found(one.text)])


def _concat(outputs: Sequence[Output]) -> str:
    return "\n".join(one.text.strip() for one in outputs)


def _nothing(_outputs: Sequence[Output]) -> str:
    return ""


def _table(outputs: Sequence[Output]) -> str:
    """Write one JSON array: each value is a row, and each array as many as it holds."""
    rows: list[object] = []
    for one in outputs:
        value = _read(one)
        rows += value if isinstance(value, list) else [value]
    return json.dumps(rows, ensure_ascii=False)


def _sum(outputs: Sequence[Output]) -> str:
    return f"{sum((_number(one) for one in outputs), Decimal(0)):f}"


def _number(output: Output) -> Decimal:
    """Read the one number of an answer: alone, or as the only value of an object."""
    text = output.text.strip()
    if text.startswith("{"):
        value = _read(output)
        values = list(value.values()) if isinstance(value, dict) else []
        text = str(values[0]) if len(values) == 1 else ""
    found = _NUMBER.findall(_GROUPS.sub("", text))
    if len(found) != 1:
        raise InvalidOutput(f"the answer of {output.id!r} is not one number, as a sum needs")
    return Decimal(found[0])


def _read(output: Output) -> object:
    try:
        return json.loads(output.text)
    except (ValueError, RecursionError) as error:
        raise InvalidOutput(f"the answer of {output.id!r} is no JSON; ask again") from error


_RULES: Final[Mapping[Merge, Callable[[Sequence[Output]], str]]] = {
    Merge.CONCAT: _concat,
    Merge.TABLE: _table,
    Merge.SUM: _sum,
    Merge.EACH: _nothing,
}
