import json

import pytest

from hubspoke.errors import (
    ContextTooLong,
    EngineOutOfMemory,
    EngineOverloaded,
    EngineProtocol,
    EngineTimeout,
    EngineTruncated,
    EngineUnavailable,
    InvalidOutput,
    InvalidRequest,
    MeshError,
    RequestTooLarge,
    UnknownModel,
    Unsupported,
    is_retryable,
)
from spoke.engines.openai.errors import broken_off, refused

SECRET = "the patient's name is /home/den/models"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, EngineUnavailable),
        (404, UnknownModel),
        (413, RequestTooLarge),
        (418, InvalidRequest),
        (422, InvalidRequest),
        (429, EngineOverloaded),
        (500, EngineProtocol),
        (501, Unsupported),
        (502, EngineUnavailable),
        (503, EngineUnavailable),
        (504, EngineTimeout),
        (507, EngineOutOfMemory),
        (302, EngineProtocol),
    ],
)
def test_a_status_tells_what_went_wrong(status: int, kind: type[MeshError]):
    assert type(refused(status, b"")) is kind


def test_llama_cpp_tells_by_how_much_a_prompt_is_too_long():
    body = {
        "error": {"code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": 3003, "n_ctx": 1024}
    }

    error = refused(400, json.dumps(body).encode())

    assert type(error) is ContextTooLong
    assert error.figures == {"prompt_tokens": 3003, "context_tokens": 1024}


@pytest.mark.parametrize(
    "problem",
    [
        {"code": "context_length_exceeded", "message": "x"},
        {"code": 400, "message": "This model's maximum context length is 8192 tokens."},
        "the context length is exceeded",
    ],
)
def test_others_say_it_in_words(problem: object):
    assert type(refused(400, json.dumps({"error": problem}).encode())) is ContextTooLong


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": SECRET, "type": "x", "code": 400}},
        {"error": SECRET},
        {"message": SECRET},
        [SECRET],
        {"error": {"message": [SECRET]}},
    ],
)
def test_an_engines_own_words_never_cross_the_mesh(body: object):
    error = refused(400, json.dumps(body).encode())

    assert type(error) is InvalidRequest
    assert "patient" not in error.message + str(error.figures)


def test_an_engines_own_words_stay_with_the_error_for_the_log():
    error = refused(400, json.dumps({"error": {"message": "no such role", "type": "t"}}).encode())

    assert "no such role" in error.__notes__[0]


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>502 Bad Gateway</html>", b"\xff\xfe", b"null", b'{"error": 5}', b'{"x": ' + b"[" * 5000],
)
def test_garbage_for_an_explanation_changes_nothing(body: bytes):
    assert type(refused(503, body)) is EngineUnavailable


def test_what_breaks_off_with_500_may_do_on_another_try():
    assert type(broken_off(b'{"error": {"code": 500, "message": "x"}}')) is EngineTruncated
    assert type(broken_off(b"garbage")) is EngineTruncated


def test_what_breaks_off_with_another_code_is_what_it_is():
    assert type(broken_off(b'{"error": {"code": 503, "message": "x"}}')) is EngineUnavailable


def said(message: str) -> bytes:
    return json.dumps({"error": {"code": 500, "message": message, "type": "server_error"}}).encode()


def test_a_text_that_is_too_long_to_become_a_vector_says_by_how_much():
    words = "input (3000 tokens) is too large to process. increase the physical batch size (current batch size: 2048)"
    error = refused(500, said(words))

    assert type(error) is ContextTooLong
    assert error.figures == {"prompt_tokens": 3000, "context_tokens": 2048}


def test_a_server_without_eyes_says_so():
    hint = "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"

    assert type(refused(500, said(hint))) is Unsupported


def test_what_the_engine_cannot_read_is_worth_another_try():
    words = "The model produced output that does not match the expected peg-native format"

    assert type(refused(500, said(words))) is InvalidOutput
    assert type(broken_off(said(words))) is InvalidOutput
    assert is_retryable(refused(500, said(words)))
