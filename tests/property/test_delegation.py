"""What always holds of plans, texts in pieces, estimates and reviews, whatever a model or a caller writes."""

from __future__ import annotations

import json
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from hub.core.delegation import chunks, fleet, gate, goals, graph, merges, plans, quotes, review, sums
from hub.core.delegation.cost import Fleet, Lane, makespan_s, run_s
from hub.core.types import Speed
from hubspoke.errors import InvalidOutput, InvalidRequest
from hubspoke.types import Merge, Mode, ModelKey, SubtaskId

NAMES = "abcdefgh"
TOKENS = st.integers(0, 50_000)
RATES = st.none() | st.floats(0.01, 10_000)
LANES = st.builds(
    Lane,
    st.sampled_from("xyz").map(ModelKey),
    st.builds(Speed, RATES, RATES),
    st.integers(512, 131_072),
    st.floats(0, 600),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["id", "instruction", "verdict"]), inner)
    ),
    max_leaves=12,
)


@st.composite
def dags(draw):
    """A graph whose subtasks wait for earlier ones, in any order."""
    graph_ = {
        name: tuple(other for other in NAMES[:place] if draw(st.booleans()))
        for place, name in enumerate(NAMES)
    }
    return {name: graph_[name] for name in draw(st.permutations(NAMES))}


@given(dags(), st.lists(st.floats(0.1, 100), min_size=len(NAMES), max_size=len(NAMES)))
def test_no_subtask_is_ordered_before_what_it_waits_for(dag, seconds):
    ordered = graph.order(dag, dict(zip(NAMES, seconds, strict=True)))
    assert sorted(ordered) == sorted(dag)
    assert all(ordered.index(other) < ordered.index(name) for name in dag for other in dag[name])


@given(dags(), st.randoms(use_true_random=False))
def test_every_plan_comes_to_an_end_whatever_ends_first(dag, chance):
    done: set[str] = set()
    begun: set[str] = set()
    while len(done) < len(dag):
        begun.update(graph.ready(dag, done, begun))
        done.add(chance.choice(sorted(begun - done)))
    assert graph.ready(dag, done, begun) == ()
    assert set(graph.ends(dag)) <= done


@given(st.dictionaries(st.sampled_from(NAMES), st.sets(st.sampled_from(NAMES)), min_size=1))
def test_a_graph_has_levels_or_is_refused(any_graph):
    with suppress(InvalidRequest):
        levels = graph.levels(any_graph)
        assert all(levels[other] < levels[name] for name in any_graph for other in any_graph[name])


@given(st.text(), st.integers(4, 50))
def test_pieces_joined_are_the_text(text, size):
    pieces = chunks.chunks(text, size)
    assert "".join(pieces) == text
    assert all(0 < len(piece.encode()) <= size for piece in pieces)


@given(st.integers(1, 10**8), st.integers(1, 131_072), st.integers(0, 300))
def test_a_piece_is_never_too_small_or_too_large(size, context, lanes):
    piece = chunks.chunk_bytes(size, context, lanes)
    assert chunks.CHUNK_TOKENS_MIN * 4 <= piece <= chunks.CHUNK_TOKENS * 4


@given(st.lists(st.tuples(TOKENS, TOKENS)), st.lists(LANES, min_size=1, max_size=5))
def test_work_takes_as_long_as_its_longest_and_no_longer_than_one_after_the_other(work, lanes):
    seconds = makespan_s(work, lanes)
    least = [min(run_s(call, lane.speed) for lane in lanes) for call in work]
    most = sum(max(run_s(call, lane.speed) for lane in lanes) for call in work) + max(
        lane.ready_s for lane in lanes
    )
    assert max(least, default=0.0) <= seconds * (1 + 1e-9)
    assert seconds <= most * (1 + 1e-9)
    assert len(fleet.spread(work, lanes)) == len(work)


@given(
    st.builds(
        gate.Job,
        goal_tokens=st.integers(1, 2_000),
        source_bytes=st.lists(st.integers(1, 10**6), max_size=4).map(tuple),
        parts=st.lists(st.text(min_size=1), min_size=1, max_size=20).map(tuple),
        sequel=st.booleans(),
        gathers=st.booleans(),
        output_tokens=st.integers(1, 2_000),
    ),
    st.builds(Fleet, LANES, st.lists(LANES, max_size=4).map(tuple), st.lists(LANES, max_size=4).map(tuple)),
)
def test_nothing_is_delegated_that_would_take_longer(job, workshop):
    choice = gate.choose(job, workshop)
    alone = choice.of(Mode.SOLO)
    if choice.mode is not Mode.SOLO:
        assert choice.of(choice.mode).seconds * gate.GAIN_MIN <= alone.seconds
    assert all(estimate.seconds >= 0 and estimate.big_tokens > 0 for estimate in choice.estimates)


@given(
    st.text()
    | JSON.map(json.dumps)
    | st.lists(JSON, max_size=3).map(lambda one: json.dumps({"subtasks": one}))
)
def test_what_a_planner_writes_is_a_plan_that_can_be_carried_out_or_refused(text):
    with suppress(InvalidRequest):
        plans.check(plans.planned(text, inputs=("a",), models=("m",)), ("a",))


@given(st.text() | st.lists(JSON, max_size=3).map(lambda one: json.dumps({"verdicts": one})))
def test_a_review_has_one_verdict_for_each_or_is_refused(text):
    asked = [SubtaskId("a"), SubtaskId("b")]
    with suppress(InvalidOutput):
        assert [verdict.subtask for verdict in review.verdicts(text, asked)] == asked


@given(st.text() | JSON.map(json.dumps))
def test_whatever_is_said_can_be_looked_at(text):
    assert text.lstrip().startswith(("{", "[")) or quotes.missing(text, [text]) == ()
    assert all(wrong in text for wrong in sums.wrong_sums(text))
    assert goals.parts(text)
    for merge in (Merge.CONCAT, Merge.TABLE, Merge.SUM):
        with suppress(InvalidOutput):
            merges.merged(merge, [merges.Output("a", text)])
