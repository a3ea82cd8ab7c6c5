import json
import sys
import time
from itertools import pairwise

import pytest

from hubspoke.errors import InvalidOutput, InvalidRequest
from hubspoke.types import Calling, Delta, Finished, FinishReason, JsonFormat, ToolCallPart, ToolChoice, Usage
from spoke.engines.format_check import FormatCheck, check_calls
from spoke.engines.schema_cost import ENUM_MAX, PROPERTIES_MAX

STOP = Finished(FinishReason.STOP, Usage(1, 1))
CUT = Finished(FinishReason.LENGTH, Usage(1, 1))
PATIENCE_S = 5.0
"""Far more than any check takes, and nothing against what the hostile schemas would."""


def check(schema: object, *texts: str, end: Finished = STOP) -> None:
    """Judge an answer that came in pieces."""
    wanted = schema if isinstance(schema, str) else json.dumps(schema)
    checked = FormatCheck(JsonFormat(wanted))
    for text in texts:
        checked.read(Delta(text))
    checked.finished(end)


def chained(depth: int, keyword: str = "allOf") -> dict[str, object]:
    """Make a schema of *depth* steps in which every step leads to the next one twice."""
    names = [f"d{number}" for number in range(depth + 1)]
    steps = {name: {keyword: [{"$ref": f"#/$defs/{after}"}] * 2} for name, after in pairwise(names)}
    return {"$ref": "#/$defs/d0", "$defs": {**steps, names[-1]: {"type": "integer"}}}


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


# What is asked for.


def test_no_format_is_no_promise():
    checked = FormatCheck(None)
    checked.read(Delta("anything"))

    checked.finished(STOP)


@pytest.mark.parametrize("text", ["{}", ' {"a": [1, {"b": null}]}\n', '{"a": 1, "a": 2}'])
def test_any_object_is_an_object(text: str):
    check("", text)


@pytest.mark.parametrize(
    "text", ["", "[1]", "1", '"{}"', "{", "{} {}", "Here: {}", nested(100_000), "{'a': 1}"]
)
def test_what_is_no_object_is_not_what_was_asked_for(text: str):
    with pytest.raises(InvalidOutput):
        check("", text)


def test_an_answer_is_judged_as_a_whole():
    check({"type": "array", "items": {"type": "integer"}}, "[1", ", 2", "]")


@pytest.mark.parametrize("text", ['{"n": "7"}', '{"n": 7, "m": 8}', "{}", "7", '{"n": 7'])
def test_what_the_schema_does_not_allow_is_refused(text: str):
    schema = {"properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
    with pytest.raises(InvalidOutput):
        check(schema | {"type": "object"}, text)
    check(schema, '{"n": 7}')


def test_what_was_cut_off_is_not_judged():
    check({"type": "object"}, '{"n', end=CUT)


def test_calls_instead_of_text_are_not_judged():
    checked = FormatCheck(JsonFormat())
    checked.read(Delta(tool_calls=(ToolCallPart(0, "a", "x", "{}"),)))

    checked.finished(Finished(FinishReason.TOOL_CALLS, Usage(1, 1)))


def test_thoughts_are_no_text():
    checked = FormatCheck(JsonFormat())
    checked.read(Delta(thinking="hm"))
    checked.read(Delta("{}"))

    checked.finished(STOP)


# Schemas that make no sense, or are made to hurt.


@pytest.mark.parametrize(
    "schema",
    [
        '{"type": "nope"}',
        '{"properties": 5}',
        "5",
        "{",
        '{"$ref": "http://127.0.0.1:9/schema"}',
        '{"$ref": "file:///etc/passwd"}',
        '{"$ref": "other.json"}',
        '{"$ref": "#/$defs/missing"}',
        '{"$ref": "#anchor"}',
        '{"$schema": "http://127.0.0.1:9/meta"}',
        '{"properties": {"a": {"$id": "http://127.0.0.1:9/", "$ref": "b"}}}',
        '{"$dynamicRef": "#x"}',
        '{"pattern": "(?=a)"}',
        '{"pattern": "("}',
        '{"pattern": "(((a{1000}){1000}){1000})"}',
        '{"type": "array", "items": {"minItems": 2000000000}}',
        '{"$defs": {"a": {"maxLength": 1e9}}}',
        json.dumps({"enum": list(range(ENUM_MAX + 1))}),
        json.dumps({"properties": {str(number): {} for number in range(PROPERTIES_MAX + 1)}}),
    ],
)
def test_a_schema_that_answers_cannot_be_checked_against_is_refused_before_there_is_one(schema: str):
    with pytest.raises(InvalidRequest):
        FormatCheck(JsonFormat(schema))


def test_a_pattern_that_others_would_hang_on_is_matched_in_no_time():
    begun = time.monotonic()

    with pytest.raises(InvalidOutput):
        check({"type": "string", "pattern": "^(a+)+$"}, json.dumps("a" * 50_000 + "b"))

    assert time.monotonic() - begun < PATIENCE_S


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_a_schema_that_unfolds_without_end_is_refused(keyword: str):
    begun = time.monotonic()

    with pytest.raises(InvalidRequest):
        check(chained(64, keyword), "1")

    assert time.monotonic() - begun < PATIENCE_S


def test_a_schema_that_unfolds_with_the_answer_is_given_up_on():
    begun = time.monotonic()

    with pytest.raises(InvalidOutput):
        check({"items": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}, False]}}, nested(100))

    assert time.monotonic() - begun < PATIENCE_S


@pytest.mark.parametrize("keyword", ["unevaluatedProperties", "unevaluatedItems"])
def test_what_is_looked_at_twice_at_every_level_is_refused(keyword: str):
    schema: dict[str, object] = {}
    for _ in range(60):
        schema = {"allOf": [schema], keyword: False}

    with pytest.raises(InvalidRequest):
        check(schema, "{}")


@pytest.mark.parametrize("depth", [100, 250, 900, 100_000])
def test_depth_is_no_way_to_hurt(depth: int):
    deep = '{"items":' * depth + "{}" + "}" * depth

    try:
        check(deep, nested(min(depth, 900)))
    except (InvalidRequest, InvalidOutput):
        assert depth > 100


def test_a_value_that_is_large_is_still_judged():
    many = json.dumps(list(range(100_000)))

    check({"type": "array", "items": {"type": "integer"}}, many)
    with pytest.raises(InvalidOutput):
        check({"type": "array", "items": {"type": "string"}}, many)


def test_a_schema_may_refer_to_itself():
    tree = {"type": "object", "properties": {"l": {"$ref": "#"}, "r": {"$ref": "#"}}}

    check(tree | {"additionalProperties": False}, '{"l": {"r": {}}, "r": {"l": {}, "r": {}}}')
    with pytest.raises(InvalidOutput):
        check(tree | {"additionalProperties": False}, '{"l": {"r": {"x": 1}}}')


def test_a_property_may_have_the_name_of_a_keyword():
    check({"properties": {"$ref": {"type": "string"}, "$anchor": {"type": "string"}}}, '{"$ref": "x"}')


def test_the_library_is_imported_by_who_brings_a_schema_alone():
    assert "jsonschema_rs" not in vars(sys.modules["spoke.engines.format_check"])


# Calls that have to be made.


def test_a_call_that_has_to_be_made_has_to_be_made():
    required, named = ToolChoice(Calling.REQUIRED), ToolChoice(Calling.REQUIRED, "clock")

    check_calls(required, ["weather"], STOP)
    check_calls(named, ["clock", "clock"], STOP)
    check_calls(ToolChoice(), [], STOP)
    check_calls(required, [], CUT)
    for choice, called in ((required, []), (named, []), (named, ["weather"]), (named, ["clock", "weather"])):
        with pytest.raises(InvalidOutput):
            check_calls(choice, called, STOP)
