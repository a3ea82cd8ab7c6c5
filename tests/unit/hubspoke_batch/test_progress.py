"""How far a batch has come, from its events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hubspoke.batch.progress import Chunk, Counted, Ended, Tally, ended_of, tally_of
from hubspoke.types import (
    DelegationEvent,
    DelegationId,
    DelegationState,
    FinishReason,
    Happening,
    Mode,
    Planned,
    Problem,
    Spent,
    StateChanged,
    SubtaskId,
    SubtaskState,
    SubtaskStatus,
)
from tests.fakes.delegations import info

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
ONE, TWO = SubtaskId("line-1"), SubtaskId("line-2")
STATES = SubtaskState
CUT = FinishReason.LENGTH
PLANNED = Planned(
    Mode.DAG, (SubtaskStatus(ONE, STATES.WAITING, "q 1"), SubtaskStatus(TWO, STATES.WAITING, "q 2"))
)
DONE = SubtaskStatus(
    ONE, STATES.DONE, spoke="den", model="tiny", output="yes", spent=Spent(0, 12), finish=CUT
)
LOST = Problem("poisonous", "two spokes went down with it")
MARK = "\n[sha256:" + "0" * 64 + "]"


def ended(chunk: Chunk, *happenings: Happening) -> list[Ended]:
    events = (DelegationEvent(seq, NOW, each) for seq, each in enumerate(happenings, start=1))
    return [one for event in events for one in chunk.after(event)]


def a_chunk() -> Chunk:
    return Chunk(DelegationId("d-1"), {ONE: "q 1", TWO: "q 2"})


def test_a_line_ends_once_with_its_id_and_its_output():
    running = SubtaskStatus(ONE, STATES.RUNNING, spoke="den")
    chunk = a_chunk()
    assert ended(chunk, PLANNED, running) == []
    assert chunk.running == {ONE}
    assert ended(chunk, DONE, DONE) == [Ended("q 1", "d-1/line-1", "yes", "tiny", "den", 12, finish=CUT)]
    assert chunk.running == set()


def test_a_line_that_fails_keeps_its_reason():
    [one] = ended(a_chunk(), PLANNED, SubtaskStatus(ONE, STATES.FAILED, problem=LOST))
    assert (one.id, one.problem) == ("q 1", LOST)


def test_what_is_left_at_the_end_has_the_reason_of_the_end():
    late = Problem("deadline_exceeded", "too late")
    [_, left] = ended(a_chunk(), PLANNED, DONE, StateChanged(DelegationState.PARTIAL, problem=late))
    assert (left.id, left.problem) == ("q 2", late)
    one, two = ended(a_chunk(), StateChanged(DelegationState.CANCELLED))  # before it was begun
    assert {one.problem.reason, two.problem.reason} == {"cancelled"}


def test_a_long_output_is_looked_up_at_the_end():
    chunk = a_chunk()
    cut = SubtaskStatus(ONE, STATES.DONE, output="x" * 16_384 + MARK)
    whole = SubtaskStatus(TWO, STATES.DONE, output="x" * 16_000 + MARK)
    ended(chunk, PLANNED, cut, whole)
    assert chunk.long == {"q 1"}


def test_a_delegation_tells_its_lines_too_and_what_could_not_be_told_whole():
    statuses = (
        SubtaskStatus(ONE, STATES.DONE, "q 1", output="x" * 20_000),
        SubtaskStatus(TWO, STATES.DONE, "q 2", output="x" * 16_384 + MARK),
        SubtaskStatus(SubtaskId("line-3"), STATES.RUNNING, "q 3"),
        SubtaskStatus(SubtaskId("line-4"), STATES.CANCELLED, "q 4"),
    )
    late = Problem("deadline_exceeded", "too late")
    one, two, four = ended_of(info(DelegationState.PARTIAL, subtasks=statuses, problem=late))
    assert (one.id, len(one.output), one.problem) == ("q 1", 20_000, None)
    assert (two.id, two.output, two.problem.reason) == ("q 2", "", "request_too_large")
    assert (four.id, four.problem) == ("q 4", late)


def test_the_rate_and_the_time_left_are_those_of_the_latest_lines():
    counted = Counted(1_000)
    assert counted.tally(0) == Tally(1_000)
    good, bad = Ended("a", "t", tokens=3), Ended("b", "t", problem=LOST)
    for number in range(300):
        later = timedelta(seconds=number * (60 if number < 44 else 2))
        counted.add([bad if number == 0 else good], NOW + later)
    tally = counted.tally(4)
    assert (tally.done, tally.failed, tally.running, tally.tokens) == (299, 1, 4, 897)
    assert tally.rate == 0.5
    assert tally.left_s == 1_400


def test_nothing_is_left_of_a_batch_that_is_done():
    counted = Counted(1)
    counted.add([Ended("a", "t")], NOW)
    assert counted.tally(0).left_s == 0


def test_how_a_batch_stands_is_told_without_watching():
    statuses = (
        SubtaskStatus(ONE, STATES.DONE, "q 1", output="yes", spent=Spent(0, 12)),
        SubtaskStatus(TWO, STATES.RUNNING, "q 2"),
    )
    tally = tally_of(5, [info(DelegationState.RUNNING, subtasks=statuses)])
    assert tally == Tally(5, done=1, running=1, tokens=12)
