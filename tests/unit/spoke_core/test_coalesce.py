from dataclasses import replace

from hubspoke.types import PIECES_MAX, Delta, ToolCallPart
from spoke.core.coalesce import (
    BATCH_CHARS_MAX,
    FLUSH_S_MAX,
    FLUSH_S_MIN,
    MARK_SHARE,
    Coalescer,
    flush_interval_s,
)


def test_the_first_token_is_due_at_once():
    assert Coalescer(0.015).add(Delta("a", 1)) < 0


def test_the_next_tokens_are_due_one_interval_after_the_last_message_at_the_next_mark():
    for sent_at in (100.0, 100.001, 100.0149):
        gathered = Coalescer(0.015)
        gathered.add(Delta("a", 1))
        gathered.take(sent_at)
        due = gathered.add(Delta("b", 1))
        assert due == gathered.add(Delta("c", 1))
        assert 0.015 - 1e-9 <= due - sent_at < 0.015 * (1 + MARK_SHARE) + 1e-9


def test_answers_that_were_sent_at_different_times_leave_together():
    dues = set()
    for sent_at in (100.0041, 100.0052, 100.0059):
        gathered = Coalescer(0.050)
        gathered.add(Delta("a", 1))
        gathered.take(sent_at)
        dues.add(gathered.add(Delta("b", 1)))
    assert len(dues) == 1


def test_what_has_gathered_goes_together():
    gathered = Coalescer(0.015)
    gathered.add(Delta("a", 1))
    gathered.add(Delta("bc", 2))
    assert gathered.take(0.0) == Delta("abc", 3, piece_lengths=(1, 2))
    assert gathered.take(0.0) is None


def test_pieces_come_apart_as_they_were_gathered():
    for pieces in ([Delta("ä"), Delta("bc"), Delta("😀")], [Delta(thinking="h"), Delta(thinking="m")]):
        gathered = Coalescer(0.015)
        for piece in pieces:
            gathered.add(piece)
        assert list(gathered.take(0.0).pieces()) == [replace(piece, tokens=0) for piece in pieces]


def test_what_has_not_been_gathered_is_one_piece():
    for delta in (Delta("abc", 3), Delta(tool_calls=(ToolCallPart(0, "1", "f"),))):
        assert list(delta.pieces()) == [delta]


def test_a_full_batch_has_no_more_pieces_than_a_delta_may_have():
    gathered, most = Coalescer(0.015), 0
    while not gathered.is_full:
        gathered.add(Delta("x"))
        most += 1
    assert len(gathered.take(0.0).piece_lengths) == most <= PIECES_MAX


def test_nothing_is_no_piece():
    gathered = Coalescer(0.015)
    for text in ("a", "", "b"):
        gathered.add(Delta(text))
    assert gathered.take(0.0).piece_lengths == (1, 1)


def test_text_thinking_and_calls_do_not_mix():
    kinds = (Delta("a"), Delta(thinking="b"), Delta(tool_calls=(ToolCallPart(0, "1", "f"),)))
    for first in kinds:
        gathered = Coalescer(0.015)
        assert all(gathered.takes(delta) for delta in kinds)
        gathered.add(first)
        assert [delta for delta in kinds if gathered.takes(delta)] == [first]
        assert gathered.take(0.0) == first


def test_arguments_of_a_call_are_put_together_and_calls_kept_apart():
    gathered = Coalescer(0.015)
    for part in (
        ToolCallPart(0, "1", "f", ""),
        ToolCallPart(0, arguments='{"a"'),
        ToolCallPart(0, arguments=":1}"),
        ToolCallPart(1, "2", "g", "{"),
        ToolCallPart(1, arguments="}"),
    ):
        gathered.add(Delta(tool_calls=(part,)))
    whole = gathered.take(0.0)
    assert whole.tool_calls == (ToolCallPart(0, "1", "f", '{"a":1}'), ToolCallPart(1, "2", "g", "{}"))
    assert whole.tokens == 5


def test_a_full_batch_does_not_wait():
    gathered = Coalescer(0.015)
    gathered.add(Delta("a", 1))
    gathered.take(100.0)
    assert gathered.add(Delta("x" * BATCH_CHARS_MAX, 1)) < 100.0
    assert gathered.is_full
    gathered.take(100.0)
    assert not gathered.is_full


def test_long_arguments_make_a_batch_full_too():
    gathered = Coalescer(0.015)
    gathered.add(Delta(tool_calls=(ToolCallPart(0, arguments="x" * BATCH_CHARS_MAX),)))
    assert gathered.is_full


def test_the_hub_gets_the_interval_that_it_asks_for_within_limits():
    assert flush_interval_s(0.030) == 0.030
    assert flush_interval_s(0.0) == FLUSH_S_MIN
    assert flush_interval_s(3600.0) == FLUSH_S_MAX
