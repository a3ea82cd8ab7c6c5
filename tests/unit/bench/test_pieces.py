"""Whether the bench notices what is missing of an answer that comes by HTTP."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.metronome import TOKENS
from bench.pieces import OLLAMA, OPENAI, Pieces


def sse(*texts: str) -> bytes:
    choices = [{"delta": {"content": text}} for text in texts]
    chunks = [
        *({"choices": [choice]} for choice in choices),
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
    ]
    return (
        b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
    )


def ndjson(*texts: str) -> bytes:
    rows = [*({"message": {"content": text}, "done": False} for text in texts), {"done": True}]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@given(st.integers(0, 30), st.integers(1, 40), st.sampled_from([(OPENAI, sse), (OLLAMA, ndjson)]))
def test_however_it_is_cut_every_token_is_counted_once(tokens, size, way):
    dialect, write = way
    pieces, body = Pieces(dialect), write(*(TOKENS[number % 2] for number in range(tokens)))
    for begin in range(0, len(body), size):
        pieces.feed(body[begin : begin + size])
    pieces.require_whole(tokens)
    assert pieces.events == tokens


def test_an_event_may_hold_several_tokens():
    pieces = Pieces(OPENAI)
    pieces.feed(sse(" tick tock tick", " tock"))
    assert (pieces.events, pieces.tokens) == (2, 4)


def test_the_first_text_is_told_from_what_comes_before_it():
    pieces = Pieces(OPENAI)
    assert not pieces.feed(b": waiting for a free slot\n\n")
    assert not pieces.feed(b'data: {"choices": [{"delta": {"role": "assistant", "content": ""}}]}\n\n')
    assert pieces.feed(b'data: {"choices": [{"delta": {"content": " tick"}}]}\n\n')


@pytest.mark.parametrize("texts", [(" tick", " tick"), (" tock",), (" tick", " tock", " tock")])
@pytest.mark.parametrize(("dialect", "write"), [(OPENAI, sse), (OLLAMA, ndjson)])
def test_a_token_that_is_lost_or_doubled_is_noticed(dialect, write, texts):
    with pytest.raises(RuntimeError, match="lost, doubled or changed"):
        Pieces(dialect).feed(write(*texts))


@pytest.mark.parametrize("end", [len(b"data: [DONE]\n\n"), 1])
def test_an_answer_without_its_end_is_noticed(end):
    pieces = Pieces(OPENAI)
    pieces.feed(sse(" tick")[:-end])
    with pytest.raises(RuntimeError, match="broke off"):
        pieces.require_whole()


def test_an_answer_that_is_too_short_is_noticed():
    pieces = Pieces(OPENAI)
    pieces.feed(sse(" tick"))
    with pytest.raises(RuntimeError, match="1 tokens instead of 2"):
        pieces.require_whole(2)


@pytest.mark.parametrize(
    ("dialect", "body"),
    [(OPENAI, b'data: {"error": {"message": "no"}}\n\n'), (OLLAMA, b'{"error": "no"}\n')],
)
def test_an_error_in_the_middle_is_no_end(dialect, body):
    with pytest.raises(RuntimeError, match="failed"):
        Pieces(dialect).feed(body)


def test_nothing_follows_the_end():
    with pytest.raises(RuntimeError, match="after its end"):
        Pieces(OPENAI).feed(sse(" tick") + b"data: [DONE]\n\n")


def test_text_of_a_real_model_is_counted_by_its_events():
    pieces = Pieces(OPENAI, ticks=False)
    pieces.feed(sse("ed", "cba"))
    pieces.require_whole(2)
