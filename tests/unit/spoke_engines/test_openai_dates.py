"""Formats of dates, for an engine that takes them for less than they say."""

import re
from datetime import date, datetime, timedelta

import pytest

from spoke.engines.json_text import Json
from spoke.engines.openai.dates import with_real_dates

DATE: dict[str, Json] = {"type": "string", "format": "date"}


def pattern(format_: str) -> re.Pattern[str]:
    made = with_real_dates({"type": "string", "format": format_})
    assert isinstance(made, dict)
    return re.compile(str(made["pattern"]))


def test_every_day_of_a_year_fits_and_no_other():
    fits = pattern("date").fullmatch
    first = date(2027, 1, 1)
    real = {(first + timedelta(number)).isoformat() for number in range(365)}
    drawn = {f"2027-{month:02}-{day:02}" for month in range(14) for day in range(33)}
    assert {one for one in drawn if fits(one)} == real
    assert not fits("0000-01-01")


@pytest.mark.parametrize("end", ["Z", "+01:00", "-23:59"])
def test_a_moment_is_one(end: str):
    fits = pattern("date-time").fullmatch
    assert datetime.fromisoformat(f"2027-06-30T23:59:59{end}")
    assert fits(f"2027-06-30T23:59:59{end}")
    assert not fits(f"2027-06-31T23:59:59{end}")
    assert not fits(f"2027-06-30T24:00:00{end}")


def test_it_is_found_wherever_a_schema_stands_and_values_stay():
    made = with_real_dates({"properties": {"format": DATE, "days": {"items": DATE}}, "default": DATE})
    with_pattern = with_real_dates(DATE)
    assert made == {
        "properties": {"format": with_pattern, "days": {"items": with_pattern}},
        "default": DATE,
    }


def test_what_has_a_pattern_or_another_format_stays():
    for schema in ({**DATE, "pattern": "^2.*$"}, {"type": "string", "format": "uuid"}, {"enum": ["date"]}):
        assert with_real_dates(schema) == schema
