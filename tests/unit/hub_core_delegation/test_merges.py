import json

import pytest

from hub.core.delegation.merges import Output, merged
from hubspoke.errors import InvalidOutput
from hubspoke.types import Merge


def outputs(*texts: str) -> list[Output]:
    return [Output(f"part-{place}", text) for place, text in enumerate(texts, start=1)]


def test_texts_come_one_after_the_other():
    assert merged(Merge.CONCAT, outputs("one\n", "two")) == "one\ntwo"


@pytest.mark.parametrize("merge", [Merge.CONCAT, Merge.TABLE, Merge.SUM])
def test_what_was_not_found_adds_nothing(merge: Merge):
    assert merged(merge, outputs("1", "Not found.")) == merged(merge, outputs("1"))


def test_objects_become_rows():
    text = merged(Merge.TABLE, outputs('{"name": "Ä"}', '[{"name": "B"}, {"name": "C"}]', "3"))
    assert json.loads(text) == [{"name": "Ä"}, {"name": "B"}, {"name": "C"}, 3]
    assert "Ä" in text


def test_text_is_no_row():
    with pytest.raises(InvalidOutput, match="part-2"):
        merged(Merge.TABLE, outputs("{}", "none"))


def test_numbers_are_added_exactly():
    assert merged(Merge.SUM, outputs("0.1", "0.2")) == "0.3"
    assert merged(Merge.SUM, outputs("1,234,567 EUR", '{"total": -3}', "It is 1.")) == "1234565"
    assert merged(Merge.SUM, outputs()) == "0"


@pytest.mark.parametrize("text", ["none", "1 or 2", '{"a": 1, "b": 2}', '{"a": "x"}', "{"])
def test_what_is_not_one_number_is_not_added(text: str):
    with pytest.raises(InvalidOutput, match="part-1"):
        merged(Merge.SUM, outputs(text))
