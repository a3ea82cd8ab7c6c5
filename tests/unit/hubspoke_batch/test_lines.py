"""Lines of a batch, and what is refused with the number of its line."""

from __future__ import annotations

import io
import json

import pytest

from hubspoke.batch import lines
from hubspoke.batch.lines import Line, read_lines
from hubspoke.errors import InvalidRequest
from hubspoke.types import Effort, JsonFormat, Message, Priority, Request, Sampling, Speaker


def read(*texts: object, model: str = "tiny") -> list[Line]:
    written = [text if isinstance(text, str) else json.dumps(text) for text in texts]
    return list(read_lines(io.BytesIO("\n".join(written).encode()), model))


def simple(id_: object = "a", **more: object) -> dict[str, object]:
    return {"id": id_, "prompt": "Hello", **more}


def test_a_prompt_is_one_turn_of_the_user():
    [line] = read(simple(max_tokens=5))
    assert (line.number, line.id) == (1, "a")
    said = (Message(Speaker.USER, "Hello"),)
    assert line.request == Request("tiny", said, max_output_tokens=5, priority=Priority.BATCH)


def test_a_line_as_openai_has_it_is_read_whole():
    body = {
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": "Be short."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "Hello"}, {"type": "text", "text": "there"}],
            },
        ],
        "max_completion_tokens": 7,
        "temperature": 0.5,
        "stop": "x",
        "reasoning_effort": "low",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "object"}},
        },
    }
    asked = {"custom_id": "q 1", "method": "POST", "url": "/v1/chat/completions", "body": body}
    [line] = read(asked)
    assert line.id == "q 1"
    assert line.request == Request(
        "tiny",
        (Message(Speaker.SYSTEM, "Be short."), Message(Speaker.USER, "Hello\nthere")),
        sampling=Sampling(temperature=0.5),
        max_output_tokens=7,
        stop=("x",),
        priority=Priority.BATCH,
        format=JsonFormat('{"type":"object"}'),
        thinking=Effort.LOW,
    )
    assert read(asked, model="")[0].request.model == "gpt-4o"


def test_empty_lines_are_passed_over_and_numbers_are_those_of_the_file():
    assert [(line.number, line.id) for line in read("", simple(7), "  ", simple("b"))] == [(2, "7"), (4, "b")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "is no JSON"),
        ("[]", "does not fit"),
        ({"prompt": "Hello"}, "`id`"),
        ({"id": "a"}, "a prompt or messages"),
        ({"id": "a", "prompt": ""}, "line 2"),
        (simple(messages=[]), "a prompt or messages"),
        (simple("a\nb"), "printable"),
        (simple("a  b"), "printable"),
        (simple("x" * 121), "printable"),
        (simple("first"), "line 1 has the id 'first' too"),
        (simple(tools=[]), "tools"),
        (simple(max_tokens=-1), "max_tokens"),
        ({"custom_id": "a", "body": {"messages": [], "n": 2}}, "one answer"),
        ({"custom_id": "a", "url": "/v1/embeddings", "body": {"messages": []}}, "/v1/chat/completions"),
        ({"id": "a", "messages": [{"role": "tool", "content": "x"}]}, "messages.role"),
        ({"id": "a", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "text alone"),
        (
            {"custom_id": "a", "body": {"messages": [{"role": "user", "content": "x"}], "temperature": 9}},
            "temperature",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_line(line: object, words: str):
    with pytest.raises(InvalidRequest) as caught:
        read(simple("first"), line)
    assert caught.value.message.startswith("line 2: ")
    assert words in caught.value.message


def test_a_line_without_a_model_is_refused():
    with pytest.raises(InvalidRequest, match="--model"):
        read(simple(), model="")


def test_a_line_that_is_too_long_is_refused_before_it_is_read_to_its_end():
    file = io.BytesIO(b"x" * (3 * lines.LINE_BYTES_MAX))
    with pytest.raises(InvalidRequest, match="line 1: it is longer than 1048576 bytes"):
        list(read_lines(file, "tiny"))
    assert file.tell() == lines.LINE_BYTES_MAX + 1


def test_a_batch_has_a_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lines, "LINES_MAX", 2)
    with pytest.raises(InvalidRequest, match="line 3: a batch has at most 2 lines"):
        read(*map(simple, "abc"))


def test_a_file_has_a_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lines, "FILE_BYTES_MAX", 40)
    with pytest.raises(InvalidRequest, match="line 2: the file is longer"):
        read(*map(simple, "ab"))
