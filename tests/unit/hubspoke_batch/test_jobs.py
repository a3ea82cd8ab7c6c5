"""How a batch is cut into delegations."""

from __future__ import annotations

from dataclasses import replace

from hubspoke.batch.jobs import CHUNK_BYTES_MAX, chunked, job_of
from hubspoke.batch.lines import Line
from hubspoke.types import Message, Request, Speaker


def line(number: int, text: str = "Hello", tokens: int = 0) -> Line:
    said = (Message(Speaker.USER, text),)
    return Line(number, f"q{number}", Request("tiny", said, max_output_tokens=tokens))


def sizes(*lines: Line) -> list[int]:
    return [len(chunk) for chunk in chunked(lines)]


def test_a_delegation_has_256_lines_at_most():
    lines = [line(number) for number in range(600)]
    assert sizes(*lines) == [256, 256, 88]
    assert [one for chunk in chunked(lines) for one in chunk] == lines


def test_long_prompts_and_long_answers_make_smaller_ones():
    assert sizes(*(line(number, "x" * (CHUNK_BYTES_MAX // 3)) for number in range(5))) == [2, 2, 1]
    assert sizes(*(line(number, tokens=300_000) for number in range(5))) == [2, 2, 1]
    assert sizes(line(1, tokens=4_000_000), line(2)) == [1, 1]


def test_an_id_is_of_what_is_asked_and_of_nothing_else():
    lines = [line(1), line(2)]
    assert job_of(lines) == job_of([line(1), line(2)])
    others = [[line(1)], [line(2), line(1)], [line(1), replace(lines[1], id="q3")], [line(1), line(2, "Hi")]]
    assert len({job_of(other) for other in (lines, *others)}) == 5
