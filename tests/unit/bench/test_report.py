"""How the bench says what it has found."""

import json

import pytest

from bench.report import Row, Section, at_least, at_most, save, show

ABOUT = {"cores": 2, "python": "3.13.1"}


@pytest.mark.parametrize(("value", "reached"), [(0.7, True), (0.8, True), (0.81, False)])
def test_a_cost_is_reached_up_to_its_limit(value, reached):
    assert at_most("added", value, 0.8, "ms").reached is reached


@pytest.mark.parametrize(("value", "reached"), [(19_999, False), (20_000, True), (25_000, True)])
def test_a_throughput_is_reached_from_its_limit_on(value, reached):
    assert at_least("throughput", value, 20_000, "tok/s").reached is reached


def test_a_row_that_falls_short_says_so(capsys):
    show(
        "What it costs",
        [Section("first_token", {}, (at_most("added", 1.2, 0.8, "ms"), Row("note", "nginx not installed")))],
        ABOUT,
    )
    lines = capsys.readouterr().out.splitlines()
    (added,) = [line.split() for line in lines if "added" in line]
    (note,) = [line for line in lines if "note" in line]
    assert added == ["added", "1.2", "ms", "<=", "0.8", "ms", "short"]
    assert "pass" not in note
    assert "short" not in note


def test_every_figure_is_kept(tmp_path):
    place = tmp_path / "build" / "relay.json"
    save(place, [Section("idle", {"streams": 1000, "each": {"rss_bytes": 28.5}})], ABOUT)
    assert json.loads(place.read_text()) == {
        "machine": ABOUT,
        "idle": {"streams": 1000, "each": {"rss_bytes": 28.5}},
    }
