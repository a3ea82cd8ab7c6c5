"""What is found wrong with a JSON schema before an engine sees it."""

import pytest

from hubspoke.schemas import fault_of


@pytest.mark.parametrize("key", ["enum", "anyOf", "oneOf", "allOf"])
@pytest.mark.parametrize("empty", [[], None, "a"])
def test_a_choice_of_nothing_is_told_wherever_it_is(key: str, empty: object):
    assert f"an {key} without" in fault_of({key: empty})
    assert f"an {key} without" in fault_of(
        {"properties": {"a": {"items": {"anyOf": [{"type": "null"}, {key: empty}]}}}}
    )


@pytest.mark.parametrize("kind", ["any", "", [], ["string", "text"], None, 3])
def test_a_type_that_there_is_not_is_told_with_those_that_there_are(kind: object):
    assert "string" in fault_of({"type": "object", "properties": {"a": {"type": kind}}})


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {"type": ["string", "null"], "enum": ["a", None]},
        {"type": "object", "properties": {"enum": {"type": "string"}, "type": {"enum": [1]}, "anyOf": {}}},
        {"const": {"enum": [], "kind": 1}["kind"], "default": [], "examples": [{"type": "any"}]},
        {"enum": [{"type": "any", "enum": []}]},
    ],
)
def test_what_can_be_fitted_is_left_alone(schema: object):
    assert fault_of(schema) == ""
