"""Whether an answer is what it has to be. Engines promise it, and do not always keep it.

Pure. Nothing that a schema refers to is ever fetched; patterns are matched in linear time; and a schema that would keep
the agent busy for long is refused.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec

from hubspoke.errors import InvalidOutput, InvalidRequest
from hubspoke.types import Calling, FinishReason
from spoke.engines.json_text import NOT_JSON
from spoke.engines.schema_cost import ENUM_MAX, PROPERTIES_MAX, REPEATS_MAX, Intricate, Schema, refuse_large

if TYPE_CHECKING:
    from collections.abc import Collection

    from jsonschema_rs import Validator

    from hubspoke.types import Delta, Finished, JsonFormat, ToolChoice
    from spoke.engines.json_text import Json

VISITS_MAX: Final = 2_000_000
"""Of schemas to values: some tenths of a second."""
PATTERN_BYTES_MAX: Final = 256 * 1024
"""What one pattern may take once it is compiled."""

_REFUSED: Final = (
    "format.json_schema is no JSON schema that answers can be checked against: it has to be valid, may refer to its own "
    "parts alone, by '#/...' and not in endless numbers, its patterns must do without look-around and back-references, "
    f"and at most {ENUM_MAX} choices, {PROPERTIES_MAX} properties and {REPEATS_MAX} repetitions are taken"
)


class FormatCheck:
    """Gathers the text of one answer, and judges it at the end; raises InvalidRequest for a schema that makes no sense."""

    def __init__(self, wanted: JsonFormat | None) -> None:
        self._wanted = wanted
        self._texts: list[str] = []
        self._has_calls = False
        self._against = _Schema(wanted.schema) if wanted is not None and wanted.schema else None

    def read(self, delta: Delta) -> None:
        """Take some of the answer."""
        if self._wanted is not None:
            self._texts.append(delta.text)
            self._has_calls = self._has_calls or bool(delta.tool_calls)

    def finished(self, end: Finished) -> None:
        """Raise InvalidOutput unless the text is what was asked for. What was cut off cannot be, and calls are no text."""
        if self._wanted is None or self._has_calls or end.reason is FinishReason.LENGTH:
            return
        text = "".join(self._texts)
        try:
            value: Json = msgspec.json.decode(text)
        except NOT_JSON as error:
            raise InvalidOutput("the model's answer is no JSON; ask again") from error
        if self._against is None and not isinstance(value, dict):
            raise InvalidOutput("the model's answer is JSON, but no object; ask again")
        if self._against is not None and not self._against.allows(value, len(text)):
            raise InvalidOutput("the model's answer is not what the schema allows; ask again")


def check_calls(choice: ToolChoice, called: Collection[str], end: Finished) -> None:
    """Raise InvalidOutput when an answer that had to call tools has *called* none, or others than the one demanded."""
    if choice.mode is not Calling.REQUIRED or end.reason is FinishReason.LENGTH:
        return
    if not called:
        raise InvalidOutput("the model called no tool, although it has to; ask again")
    if choice.name and set(called) != {choice.name}:
        raise InvalidOutput("the model called another tool than the one that it has to; ask again")


class _Schema:
    def __init__(self, text: str) -> None:
        try:
            read: dict[str, Json] = msgspec.json.decode(text, type=dict)
            refuse_large(read)
            self._cost = Schema(read)
        except (msgspec.DecodeError, RecursionError, Intricate) as error:
            raise InvalidRequest(_REFUSED) from error
        if VISITS_MAX < self._cost.visits_of_a_value < math.inf:
            raise InvalidRequest(_REFUSED)
        self._validator = _validator(read)

    def allows(self, value: Json, size: int) -> bool:
        """Judge *value*, which was written in *size* characters and so has no more parts than that."""
        try:
            takes_long = (
                self._cost.visits_of_a_value * size > VISITS_MAX and self._cost.visits(value) > VISITS_MAX
            )
        except Intricate:
            takes_long = True
        if takes_long:
            raise InvalidOutput("the answer takes too long to check against its schema; simplify that")
        try:
            return self._validator.is_valid(value)
        except ValueError as error:
            raise InvalidOutput("the answer cannot be checked against its schema; simplify that") from error


def _validator(schema: dict[str, Json]) -> Validator:
    import jsonschema_rs  # noqa: PLC0415  # 15 MB, which most spokes never need

    try:
        return jsonschema_rs.validator_for(
            schema,
            offline=True,
            validate_formats=False,  # engines do not write by them either
            pattern_options=jsonschema_rs.RegexOptions(
                size_limit=PATTERN_BYTES_MAX, dfa_size_limit=PATTERN_BYTES_MAX
            ),
        )
    except ValueError as error:
        raise InvalidRequest(_REFUSED) from error
