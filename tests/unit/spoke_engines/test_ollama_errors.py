import pytest

from hubspoke.errors import (
    ContextTooLong,
    EngineCrashed,
    EngineOutOfMemory,
    EngineOverloaded,
    EngineProtocol,
    EngineTruncated,
    EngineUnavailable,
    InvalidRequest,
    MeshError,
    UnknownModel,
)
from spoke.engines.ollama_errors import MID_STREAM, refused


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (404, "model 'nope' not found", UnknownModel),
        (400, "invalid role", InvalidRequest),
        (401, "unauthorized", EngineUnavailable),
        (503, "server busy, please try again.  maximum pending requests exceeded", EngineOverloaded),
        (500, "model requires more system memory (7.9 GiB) than is available (1.0 GiB)", EngineOutOfMemory),
        (500, "CUDA error: out of memory", EngineOutOfMemory),
        (500, "llama runner process has terminated: signal: killed", EngineCrashed),
        (500, "model runner has unexpectedly stopped", EngineCrashed),
        (400, "the input length exceeds the context length", ContextTooLong),
        (500, "something else", EngineProtocol),
        (502, "<html>", EngineUnavailable),
        (MID_STREAM, "something else", EngineTruncated),
        (MID_STREAM, "CUDA error: out of memory", EngineOutOfMemory),
    ],
)
def test_words_and_status_tell_what_went_wrong(status: int, said: str, kind: type[MeshError]):
    assert type(refused(status, said)) is kind


def test_by_how_much_a_prompt_is_too_long_is_told_where_ollama_tells():
    error = refused(
        400, "request (3003 tokens) exceeds the available context size (1024 tokens), try increasing it"
    )

    assert error.figures == {"prompt_tokens": 3003, "context_tokens": 1024}


@pytest.mark.parametrize("said", ["out of memory", "context length", "terminated", "server busy", "odd"])
def test_ollamas_own_words_stay_with_the_error_for_the_log(said: str):
    error = refused(500, f"the patient's name: {said}")

    assert "patient" not in error.message + str(error.figures)
    assert "patient" in error.__notes__[0]
