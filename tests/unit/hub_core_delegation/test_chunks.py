from hub.core.delegation.chunks import (
    CHUNK_TOKENS,
    CHUNK_TOKENS_MIN,
    ROOM_TOKENS,
    chunk_bytes,
    chunks,
)
from hub.core.estimator import BYTES_PER_TOKEN

LONG = 400_000


def test_a_text_is_cut_between_paragraphs():
    assert chunks("one one one\n\ntwo two\n\nthree", 24) == ("one one one\n\ntwo two\n\n", "three")


def test_without_paragraphs_it_is_cut_between_lines_sentences_and_words():
    assert chunks("one one\ntwo two two", 14) == ("one one\n", "two two two")
    assert chunks("one one. two two two", 14) == ("one one. ", "two two two")
    assert chunks("one one two two", 12) == ("one one two ", "two")


def test_no_character_is_cut():
    assert chunks("äöü", 5) == ("äö", "ü")


def test_an_early_end_of_a_paragraph_does_not_make_a_tiny_piece():
    assert chunks("a\n\n" + "b" * 20, 10)[0] == "a\n\n" + "b" * 7


def test_every_lane_gets_a_piece():
    size = chunk_bytes(12_000, context_tokens=8_192, lanes=3)
    assert size == 4_000


def test_no_piece_is_longer_than_small_models_read_well():
    assert chunk_bytes(LONG, context_tokens=131_072, lanes=3) <= CHUNK_TOKENS * BYTES_PER_TOKEN


def test_no_piece_is_longer_than_the_context_has_room_for():
    assert chunk_bytes(LONG, context_tokens=2_048, lanes=3) <= (2_048 - ROOM_TOKENS) * BYTES_PER_TOKEN


def test_many_lanes_do_not_make_crumbs():
    assert chunk_bytes(10_000, context_tokens=8_192, lanes=100) == CHUNK_TOKENS_MIN * BYTES_PER_TOKEN
