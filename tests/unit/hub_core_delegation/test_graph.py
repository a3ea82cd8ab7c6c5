import pytest

from hub.core.delegation import graph
from hubspoke.errors import InvalidRequest

DIAMOND = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
SECONDS = {"a": 1.0, "b": 2.0, "c": 5.0, "d": 1.0}


def test_levels_count_what_comes_before():
    assert graph.levels(DIAMOND) == {"a": 0, "b": 1, "c": 1, "d": 2}


def test_a_circle_is_told_step_by_step():
    with pytest.raises(InvalidRequest, match="b -> c -> b"):
        graph.levels({"a": (), "b": ("c", "a"), "c": ("b",)})


def test_a_subtask_does_not_wait_for_itself():
    with pytest.raises(InvalidRequest, match="a -> a"):
        graph.levels({"a": ("a",)})


def test_what_is_not_in_the_plan_cannot_be_waited_for():
    with pytest.raises(InvalidRequest, match="'b', which is not in the plan"):
        graph.levels({"a": ("b",)})


def test_the_longest_chain_counts():
    assert graph.remaining(DIAMOND, SECONDS) == {"a": 7.0, "b": 3.0, "c": 6.0, "d": 1.0}


def test_what_holds_up_the_most_goes_first():
    assert graph.order(DIAMOND, SECONDS) == ("a", "c", "b", "d")


def test_of_equals_the_first_of_the_plan_goes_first():
    assert graph.order({"z": (), "a": (), "m": ()}, dict.fromkeys("zam", 1.0)) == ("z", "a", "m")


def test_only_what_waits_for_nothing_more_is_ready():
    assert graph.ready(DIAMOND, done=(), begun=()) == ("a",)
    assert graph.ready(DIAMOND, done={"a"}, begun={"b"}) == ("c",)
    assert graph.ready(DIAMOND, done={"a", "b"}, begun={"c"}) == ()


def test_results_are_those_that_nobody_waits_for():
    assert graph.ends(DIAMOND) == ("d",)
    assert graph.ends({"a": (), "b": ()}) == ("a", "b")
