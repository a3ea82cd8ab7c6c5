import pytest

from hub.core.delegation.checks import fault
from hubspoke.types import Check

ALL = tuple(Check)
SOURCES = ["The meeting is on Friday."]


@pytest.mark.parametrize(
    ("checks", "output", "said"),
    [
        ((), " ", "the answer is empty"),
        ((Check.QUOTE,), 'It says "on Monday".', "what it quotes does not stand in the text: 'on Monday'"),
        ((Check.ARITHMETIC,), "2 + 2 = 5", "a sum does not come out: 2 + 2 = 5"),
        ((Check.FOUND,), "not found", "something has to be found"),
    ],
)
def test_a_fault_is_told_so_that_it_can_be_mended(checks, output, said):
    assert fault(checks, output, SOURCES) == said


def test_what_is_not_checked_has_no_fault():
    assert fault((), '"on Monday", 2 + 2 = 5', SOURCES) == ""


def test_nothing_found_passes_every_check_but_that_one():
    assert fault((Check.QUOTE, Check.ARITHMETIC), "Not found.", SOURCES) == ""


def test_a_good_answer_passes_all():
    assert fault(ALL, '"on Friday"; 2 + 2 = 4', SOURCES) == ""


def test_a_passage_is_told_in_short():
    assert len(fault((Check.QUOTE,), f'"{"x" * 5_000}"', SOURCES)) < 200
