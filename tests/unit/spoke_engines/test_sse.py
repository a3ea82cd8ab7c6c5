import pytest

from hubspoke.errors import EngineProtocol
from spoke.engines.sse import EVENT_BYTES_MAX, SseEvent, SseParser


def parse(*pieces: bytes) -> list[SseEvent]:
    parser = SseParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def data(*texts: str) -> list[SseEvent]:
    return [SseEvent("message", text) for text in texts]


def test_an_event_ends_with_an_empty_line():
    assert parse(b"data: one\n\ndata: two\n\ndata: not yet\n") == data("one", "two")


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_line_end_will_do(end: bytes):
    assert parse(b"data: one" + end * 2 + b"data: two" + end * 2) == data("one", "two")


def test_a_line_end_that_is_cut_in_two_is_one():
    assert parse(b"data: one\r", b"\n\r", b"\ndata: two\r\n\r", b"\n") == data("one", "two")


def test_a_letter_that_is_cut_in_two_is_one():
    text = "data: grün\n\n".encode()
    cut = text.index(b"\xbc")

    assert parse(text[:cut], text[cut:]) == data("grün")


def test_comments_are_signs_of_life_and_nothing_else():
    assert parse(b": ping\n\n:\n\ndata: one\n: ping\n\n") == data("one")


def test_lines_of_data_are_joined():
    assert parse(b"data: one\ndata:two\ndata\n\n") == data("one\ntwo\n")


def test_only_one_space_is_taken_off():
    assert parse(b"data:  one\n\n") == data(" one")


def test_an_event_may_have_a_kind():
    assert parse(b"event: error\ndata: x\n\ndata: y\n\n") == [SseEvent("error", "x"), *data("y")]


def test_llama_cpps_old_error_field_is_an_error():
    assert parse(b'error: {"code": 500}\n\n') == [SseEvent("error", '{"code": 500}')]


def test_fields_that_nobody_needs_are_passed_over():
    assert parse(b"id: 7\nretry: 100\nx-own: y\ndata: one\n\n") == data("one")


def test_an_event_without_data_is_none():
    assert parse(b"event: ping\n\ndata: one\n\n") == data("one")


def test_a_byte_order_mark_is_no_part_of_the_first_line():
    assert parse(b"\xef\xbb\xbfdata: one\n\n") == data("one")


def test_bytes_that_are_no_text_are_replaced():
    assert parse(b"data: \xff\n\n") == data("\ufffd")


@pytest.mark.parametrize("filler", [b"x", b"data: x\n"])
def test_an_event_that_never_ends_is_refused(filler: bytes):
    parser = SseParser()
    piece = filler * 4096
    for _ in range(EVENT_BYTES_MAX // len(piece) - 1):
        assert parser.feed(piece) == []

    with pytest.raises(EngineProtocol):
        parser.feed(piece * (EVENT_BYTES_MAX // len(piece)))


def test_many_small_events_are_not_one_large_one():
    parser = SseParser()
    events = sum(len(parser.feed(b"data: xxxxxxxx\n\n" * 1024)) for _ in range(200))

    assert events == 200 * 1024
