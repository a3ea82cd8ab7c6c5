import pytest

from hub.core.delegation.sums import EQUATIONS_MAX, wrong_sums


@pytest.mark.parametrize(
    "text",
    [
        "2 + 2 = 4",
        "2+3*4=14",
        "10 / 4 = 2.5",
        "1/3 = 0.33",
        "so 7 - -2 = 9.",
        "-5 + 3 = -2",
        "6 \u00d7 7 = 42",
        "8 ÷ 2 - 1 = 3",
    ],
)
def test_what_comes_out_is_right(text: str):
    assert wrong_sums(text) == ()


@pytest.mark.parametrize(
    "text", ["2 + 2 = 5", "2+3*4=20", "10 / 4 = 3.5", "1/3 = 0.34", "5 / 0 = 0", "6 \u00d7 7 = 41"]
)
def test_what_does_not_is_wrong(text: str):
    assert wrong_sums(f"Well, {text}.") == (text,)


@pytest.mark.parametrize(
    "text", ["x + 2 = 5", "(1 + 2) * 3 = 9", "2 + 2 = 4 * 1", "version 1.2.3-4 = 5.6.7", "2026-11-25"]
)
def test_what_is_not_understood_is_left_alone(text: str):
    assert wrong_sums(text) == ()


def test_all_wrong_sums_are_told():
    assert wrong_sums("1 + 1 = 3, 2 + 2 = 4 and 3 + 3 = 7") == ("1 + 1 = 3", "3 + 3 = 7")


def test_the_look_at_sums_has_an_end():
    assert len(wrong_sums("1 + 1 = 3, " * 1_000)) == EQUATIONS_MAX
