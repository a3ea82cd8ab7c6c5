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
    Unsupported,
)
from spoke.engines.ollama.errors import MID_STREAM, pull_refused, refused


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
        (500, "an error was encountered while running the model: unexpected EOF", EngineCrashed),
        (
            500,
            "llama-server process has terminated: exit status 1: cudaMalloc failed: out of memory",
            EngineOutOfMemory,
        ),
        (400, "the input length exceeds the context length", ContextTooLong),
        (400, "input length exceeds maximum context length", ContextTooLong),
        (
            400,
            "the prompt is longer than the context length currently available to the model",
            ContextTooLong,
        ),
        (400, '"tiny" does not support thinking', Unsupported),
        (400, "registry.ollama.ai/library/tiny:latest does not support tools", Unsupported),
        (400, 'think value "low" is not supported for this model', Unsupported),
        (
            400,
            "json: cannot unmarshal string into Go struct field ChatRequest.think of type bool",
            Unsupported,
        ),
        (500, "image input is not supported - hint: you may need to provide the mmproj", Unsupported),
        (500, "invalid JSON schema in format", InvalidRequest),
        (400, "failed to parse grammar", InvalidRequest),
        (400, "embedding contains NaN or Inf values", EngineProtocol),
        (501, "This server does not support embeddings. Start it with `--embeddings`", Unsupported),
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


@pytest.mark.parametrize(
    "said", ["out of memory", "context length", "terminated", "server busy", "does not support tools", "odd"]
)
def test_ollamas_own_words_stay_with_the_error_for_the_log(said: str):
    error = refused(500, f"the patient's name: {said}")

    assert "patient" not in error.message + str(error.figures)
    assert "patient" in error.__notes__[0]


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (MID_STREAM, "pull model manifest: file does not exist", UnknownModel),
        (MID_STREAM, "write /home/den/blobs/sha256-ab-partial: no space left on device", EngineOutOfMemory),
        (MID_STREAM, "write C:\\\\blobs: There is not enough space on the disk.", EngineOutOfMemory),
        (MID_STREAM, 'Get "https://library": dial tcp: lookup library: no such host', EngineUnavailable),
        (MID_STREAM, "max retries exceeded: unexpected EOF", EngineUnavailable),
        (MID_STREAM, "pull model manifest: 412: it requires a newer version of Ollama", Unsupported),
        (MID_STREAM, "this model requires MLX support, but the MLX runtime is not available", Unsupported),
        (MID_STREAM, "unauthorized: access denied", Unsupported),
        (MID_STREAM, "digest mismatch, file must be downloaded again: want a, got b", EngineTruncated),
        (MID_STREAM, "something else", EngineTruncated),
        (400, "invalid model name", InvalidRequest),
        (500, "something else", EngineProtocol),
    ],
)
def test_words_tell_why_a_pull_failed(status: int, said: str, kind: type[MeshError]):
    error = pull_refused(status, said)

    assert type(error) is kind
    assert "den" not in error.message


def test_a_model_called_after_a_failure_is_only_unreachable():
    said = 'Get "https://library/v2/library/mlx-out-of-memory/manifests/latest": dial tcp: i/o timeout'

    assert type(pull_refused(MID_STREAM, said)) is EngineUnavailable
