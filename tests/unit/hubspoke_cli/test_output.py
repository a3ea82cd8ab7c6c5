from datetime import timedelta

import pytest

from hubspoke.cli.output import gauge, size, span


@pytest.mark.parametrize(
    ("used", "total", "bar"),
    [
        (0, 100, "░" * 10),
        (50, 100, "█" * 5 + "░" * 5),
        (100, 100, "█" * 10),
        (150, 100, "█" * 10),
        (0, 0, "░" * 10),
    ],
)
def test_a_gauge_fills_with_what_is_used(used: int, total: int, bar: str):
    assert gauge(used, total).startswith(f"{bar} ")


def test_sizes_are_in_the_unit_that_people_use():
    assert (size(12 << 30), size(1 << 20)) == ("12.0 GiB", "1.0 MiB")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (59.4, "59 s"), (60, "1 min"), (599.9, "10 min"), (7_199, "2 h"), (200_000, "2 d")],
)
def test_a_span_is_in_its_largest_unit(seconds: float, text: str):
    assert span(timedelta(seconds=seconds)) == text
