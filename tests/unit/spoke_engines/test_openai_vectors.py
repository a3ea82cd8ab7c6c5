import json

import pytest

from hubspoke.errors import EngineProtocol, MeshError
from spoke.engines.openai.vectors import body, made


def answer(*items: tuple[int | None, list[object]], **more: object) -> bytes:
    data = [{"embedding": vector} | ({} if n is None else {"index": n}) for n, vector in items]
    return json.dumps({"object": "list", "data": data, **more}).encode()


def test_vectors_are_asked_for_as_numbers():
    assert body("m", ("a", "b")) == {"model": "m", "input": ["a", "b"], "encoding_format": "float"}


def test_vectors_are_put_into_the_order_of_the_texts():
    found = made(answer((1, [1, 2]), (0, [3, 4]), usage={"prompt_tokens": 7}))

    assert found.vectors == ((3.0, 4.0), (1.0, 2.0))
    assert found.prompt_tokens == 7


def test_without_numbers_the_order_is_that_of_the_list_and_without_usage_nothing_was_counted():
    found = made(answer((None, [1]), (None, [2])))

    assert (found.vectors, found.prompt_tokens) == (((1.0,), (2.0,)), 0)


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"data": 5}',
        answer((0, [None])),
        answer((0, ["1"])),
        answer((0, [1]), (0, [2])),
        answer((0, [1]), (2, [2])),
        answer((-1, [1])),
        b'{"data": [{"embedding": "AAAA", "index": 0}]}',
        b'{"data": [{"embedding": [NaN], "index": 0}]}',
        b"\xff\xfe",
        b'{"error": ' + b"[" * 5000,
    ],
)
def test_what_makes_no_sense_is_refused(garbage: bytes):
    with pytest.raises(EngineProtocol):
        made(garbage)


def test_an_error_with_the_status_of_success_is_an_error():
    with pytest.raises(MeshError):
        made(b'{"error": {"message": "no"}}')
