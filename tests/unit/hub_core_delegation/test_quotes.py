import pytest

from hub.core.delegation.quotes import evidence, is_not_found, missing, quotes

SOURCE = "The  meeting is on Friday.\nIt\u2019s in the “blue room” \u2013 bring tea."


@pytest.mark.parametrize(
    "output",
    [
        "not found",
        "Not found.",
        '"not found"',
        '{"answer": null}',
        '{"answer": "Not found."}',
        '{"dates": []}',
    ],
)
def test_not_found_is_said_in_several_ways(output: str):
    assert is_not_found(output)


@pytest.mark.parametrize(
    "output", ["", "The key was not found in the drawer", "{}", '{"a": 0}', '{"a": null, "b": "x"}']
)
def test_an_answer_that_speaks_of_it_is_an_answer(output: str):
    assert not is_not_found(output)


def test_quotes_stand_in_quotation_marks():
    assert quotes('He said "on Friday" and “in the blue room”, in „Ulm“ «bring tea».') == (
        "on Friday",
        "in the blue room",
        "Ulm",
        "bring tea",
    )


def test_quotes_of_json_stand_in_its_fields():
    assert quotes('{"day": "Friday", "found": [{"quote": "on Friday"}], "quotes": ["bring tea"]}') == (
        "on Friday",
        "bring tea",
    )


def test_blanks_marks_and_capitals_do_not_count():
    assert missing('It says "the meeting is on friday. it\'s in the" there', [SOURCE]) == ()


def test_a_quote_that_stands_nowhere_is_told():
    assert missing('"on Friday", not "on Monday"', [SOURCE]) == ("on Monday",)


def test_one_of_the_sources_is_enough():
    assert missing('"on Monday"', [SOURCE, "See you on Monday"]) == ()


def test_evidence_is_what_stands_around_a_quote():
    source = f"{'x' * 500} the meeting is on Friday {'y' * 500}"
    (passage,) = evidence('"meeting is on Friday"', [source], chars_max=400)
    assert "xx the meeting is on Friday yy" in passage
    assert len(passage) < 300


def test_evidence_is_not_longer_than_allowed():
    assert sum(map(len, evidence('"on Friday" "bring tea"', [SOURCE], chars_max=20))) <= 20


def test_letters_that_grow_in_small_do_not_shift_the_evidence():
    assert evidence('"bring tea"', ["İ" * 200 + " bring tea"], chars_max=400)[0].endswith("bring tea")
