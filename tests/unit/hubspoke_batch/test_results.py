"""The results file: what is there stays, whatever a crash has left of the last line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hubspoke.batch.progress import Ended
from hubspoke.batch.results import Results, encoded
from hubspoke.errors import InvalidRequest
from hubspoke.types import FinishReason, Problem

if TYPE_CHECKING:
    from pathlib import Path

A, B = (
    Ended("a", "d-1/line-1", "yes", "tiny", "den", 12, finish=FinishReason.LENGTH),
    Ended("b", "d-1/line-2", problem=Problem("busy", "no")),
)
IDS = {"a", "b"}


def test_results_are_as_openai_writes_them(tmp_path: Path):
    with Results.open(tmp_path / "out", IDS) as results:
        results.add([A, B])
    good, bad = map(json.loads, (tmp_path / "out").read_text().splitlines())
    assert good["custom_id"] == "a"
    message = {"role": "assistant", "content": "yes"}
    assert good["response"]["body"]["choices"] == [
        {"index": 0, "message": message, "finish_reason": "length"}
    ]
    assert (bad["response"], bad["error"]) == (None, {"code": "busy", "message": "no"})


def test_why_an_answer_ended_is_not_made_up_where_it_was_not_kept():
    line = json.loads(encoded(Ended("a", "d-1/line-1", "yes")))
    assert line["response"]["body"]["choices"][0]["finish_reason"] is None


def test_what_is_there_is_not_written_twice(tmp_path: Path):
    for _ in range(2):
        with Results.open(tmp_path / "out", IDS) as results:
            results.add([A])
            results.add([A, B])
    assert (tmp_path / "out").read_bytes() == encoded(A) + encoded(B)


def test_wherever_a_crash_tears_the_last_line_it_is_written_again(tmp_path: Path):
    path, line = tmp_path / "out", encoded(B)
    for cut in range(len(line)):
        path.write_bytes(encoded(A) + line[:cut])
        with Results.open(path, IDS) as results:
            assert ("a" in results, "b" in results) == (True, False)
            results.add([B])
        assert path.read_bytes() == encoded(A) + line


@pytest.mark.parametrize("there", [b"hello\n", b"hello", b'{"custom_id": "z"}\n', b'{"id": 1}\n', b"\xff\n"])
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, there: bytes):
    path = tmp_path / "out"
    path.write_bytes(there)
    with pytest.raises(InvalidRequest, match="--output"):
        Results.open(path, IDS)
    assert path.read_bytes() == there
