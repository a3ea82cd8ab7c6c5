"""Vectors from a server that fails in every way that servers do."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

import pytest

from hubspoke.errors import (
    ContextTooLong,
    EngineOverloaded,
    EngineProtocol,
    EngineTruncated,
    EngineUnavailable,
    InvalidRequest,
    MeshError,
    Unsupported,
)
from hubspoke.types import Embeddings, EmbedRequest, Finished, FinishReason, Usage
from spoke.engines.openai.http import Endpoint, OpenAiClient
from spoke.engines.openai.vectors import PATH
from spoke.engines.vectors import BATCH_TEXTS
from tests.fakes.engine_server import Script, refusal, serve

PATIENCE_S = 5.0


def vectors(*made: Sequence[float], tokens: int = 3) -> bytes:
    data = [{"index": index, "embedding": list(vector)} for index, vector in enumerate(made)]
    return refusal(200, {"data": data, "usage": {"prompt_tokens": tokens}})


async def embed(url: str, *inputs: str, dimensions: int = 0) -> list[Embeddings | Finished]:
    client = OpenAiClient(Endpoint(url))
    try:
        async with asyncio.timeout(PATIENCE_S):
            return [event async for event in client.embed("m", EmbedRequest("n", inputs, dimensions))]
    finally:
        await client.aclose()


async def failure(answer: bytes, *inputs: str, dimensions: int = 0) -> MeshError:
    async with serve(Script([answer])) as url:
        with pytest.raises(MeshError) as failed:
            await embed(url, *(inputs or ("a", "b")), dimensions=dimensions)
    return failed.value


async def test_texts_become_vectors_and_one_end():
    script = Script([vectors([3, 4], [0, 2])])
    async with serve(script) as url:
        events = await embed(url, "a", "b")

    assert events == [
        Embeddings(0, (pytest.approx((0.6, 0.8)), (0.0, 1.0))),
        Finished(FinishReason.STOP, Usage(prompt_tokens=3, output_tokens=0)),
    ]
    assert PATH.encode() in script.heads[0]
    assert script.bodies == [{"model": "m", "input": ["a", "b"], "encoding_format": "float"}]


async def test_many_texts_come_in_batches_whose_tokens_are_summed():
    script = Script([vectors(*[[1.0, 0.0]] * BATCH_TEXTS)])
    async with serve(script) as url:
        *batches, finished = await embed(url, *["a"] * (2 * BATCH_TEXTS))

    assert [batch.first for batch in batches] == [0, BATCH_TEXTS]
    assert finished.usage.prompt_tokens == 6
    assert [len(body["input"]) for body in script.bodies] == [BATCH_TEXTS, BATCH_TEXTS]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (vectors([1, 2]), EngineProtocol),
        (vectors([1, 2], [1, 2], [1, 2]), EngineProtocol),
        (vectors([1, 2], [1]), EngineProtocol),
        (vectors([0, 0], [1, 1]), EngineProtocol),
        (refusal(200, b"<html>"), EngineProtocol),
        (refusal(200, {"data": [{"embedding": [None], "index": 0}]}), EngineProtocol),
        (refusal(501, {"error": {"type": "not_supported_error"}}), Unsupported),
        (refusal(400, {"error": {"message": "maximum context length is 8"}}), ContextTooLong),
        (refusal(400, {}), InvalidRequest),
        (refusal(429, {}), EngineOverloaded),
        (refusal(503, {}), EngineUnavailable),
        (vectors([1, 2], [1, 2])[:-9], EngineTruncated),
        (b"", EngineTruncated),
    ],
)
async def test_what_is_not_the_vectors_of_the_texts_is_a_failure(answer: bytes, kind: type[MeshError]):
    assert type(await failure(answer)) is kind


async def test_longer_vectors_than_there_are_are_refused():
    assert type(await failure(vectors([1, 2]), "a", dimensions=3)) is InvalidRequest


async def test_closing_in_a_batch_hangs_up_at_once():
    script = Script([b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"], hangs=True)
    async with serve(script) as url:
        client = OpenAiClient(Endpoint(url))
        async with asyncio.timeout(PATIENCE_S):
            async with aclosing(client.embed("m", EmbedRequest("n", ("a",)))) as events:
                batch = asyncio.ensure_future(anext(events))
                await script.asked.wait()
                batch.cancel()
                await asyncio.wait({batch})
            await script.hung_up.wait()
        await client.aclose()
