"""However a stream is cut, the same events come out; whatever a server sends, only declared errors do."""

from hypothesis import given
from hypothesis import strategies as st

from hubspoke.errors import EngineProtocol
from spoke.engines.sse import SseEvent, SseParser

LINES = st.sampled_from(
    [
        b"data: a",
        b"data:b",
        b"data: \xc3\xbc",
        b": ping",
        b"",
        b"event: error",
        b"error: x",
        b"id: 1",
        b"data",
    ]
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])


def parse(pieces: list[bytes]) -> list[SseEvent]:
    parser = SseParser()
    return [event for piece in pieces for event in parser.feed(piece)]


@given(st.lists(st.tuples(LINES, ENDS)), st.data())
def test_where_a_stream_is_cut_makes_no_difference(lines: list[tuple[bytes, bytes]], data: st.DataObject):
    stream = b"".join(line + end for line, end in lines)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    assert parse(pieces) == parse([stream])


@given(st.lists(st.binary(max_size=200)))
def test_garbage_gives_events_or_a_declared_error(pieces: list[bytes]):
    try:
        events = parse(pieces)
    except EngineProtocol:
        return
    assert all(isinstance(event.data, str) for event in events)


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\r\n", codec="utf-8")), min_size=1))
def test_what_is_written_is_read(texts: list[str]):
    stream = "".join(f"data: {text}\n\n" for text in texts).encode()

    assert [event.data for event in parse([stream])] == texts
