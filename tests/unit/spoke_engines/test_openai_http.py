"""The client against a server that fails in every way that servers do."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing

import pytest

from hubspoke.errors import (
    ContextTooLong,
    EngineProtocol,
    EngineTruncated,
    EngineUnavailable,
    InvalidRequest,
    MeshError,
)
from hubspoke.types import Delta, Finished, FinishReason, Message, Request, Speaker, Usage
from spoke.engines.openai.dialect import PLAIN
from spoke.engines.openai.http import ERROR_BYTES_MAX, Endpoint, OpenAiClient
from spoke.engines.openai.models import Served
from tests.fakes.engine_server import END_OF_BODY, OK_STREAM, Script, chunk, event, refusal, serve

HELLO = Request("m", messages=(Message(Speaker.USER, "hello"),))
TEXT = event({"choices": [{"delta": {"content": "Hi"}}]})
STOP = event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
DONE = event("[DONE]")


async def ask(url: str, api_key: str = "") -> list[Delta | Finished]:
    client = OpenAiClient(Endpoint(url, api_key))
    try:
        async with (
            asyncio.timeout(10),
            aclosing(client.generate("m", HELLO, PLAIN, {"cache_prompt": True})) as events,
        ):
            return [event async for event in events]
    finally:
        await client.aclose()


async def failure(pieces: Sequence[bytes]) -> MeshError:
    async with serve(Script(pieces)) as url:
        with pytest.raises(MeshError) as failed:
            await ask(url)
    return failed.value


async def test_an_answer_is_deltas_and_one_end():
    script = Script([OK_STREAM, TEXT, chunk(b": ping\n\n"), STOP, DONE, END_OF_BODY])
    async with serve(script) as url:
        events = await ask(url, api_key="sesame")

    assert events == [Delta("Hi"), Finished(FinishReason.STOP, Usage(0, 1))]
    assert b"authorization: bearer sesame" in script.heads[0].lower()
    assert (script.bodies[0]["model"], script.bodies[0]["cache_prompt"]) == ("m", True)


async def test_an_answer_ends_with_done_even_when_the_server_keeps_the_connection():
    async with serve(Script([OK_STREAM, TEXT, STOP, DONE], hangs=True)) as url:
        assert len(await ask(url)) == 2


async def test_an_answer_may_end_without_done():
    async with serve(Script([OK_STREAM, TEXT, STOP, END_OF_BODY])) as url:
        assert len(await ask(url)) == 2


@pytest.mark.parametrize(
    "pieces",
    [
        [OK_STREAM, TEXT, END_OF_BODY],
        [OK_STREAM, TEXT, DONE, END_OF_BODY],
        [OK_STREAM, TEXT],
        [OK_STREAM, TEXT, b"40\r\ndata: half a ch"],
        [OK_STREAM, END_OF_BODY],
        [OK_STREAM, TEXT, event({"error": {"code": 500, "message": "x"}}), END_OF_BODY],
        [OK_STREAM, TEXT, chunk(b'error: {"code": 500}\n\n'), END_OF_BODY],
        [b""],
    ],
    ids=["no end", "done without an end", "hang-up", "cut", "empty", "error", "old error", "nothing"],
)
async def test_an_answer_that_breaks_off_is_truncated(pieces: list[bytes]):
    assert type(await failure(pieces)) is EngineTruncated


async def test_a_refusal_is_what_the_server_says_it_is():
    body = {"error": {"type": "exceed_context_size_error", "n_prompt_tokens": 9, "n_ctx": 8}}

    assert type(await failure([refusal(400, body)])) is ContextTooLong
    assert type(await failure([refusal(400, {})])) is InvalidRequest
    assert type(await failure([refusal(503, b"<html>")])) is EngineUnavailable


async def test_of_an_endless_refusal_only_the_beginning_is_read():
    endless = b"HTTP/1.1 400 No\r\nContent-Length: 99999999\r\n\r\n" + b"x" * (2 * ERROR_BYTES_MAX)

    assert type(await failure([endless])) is InvalidRequest


async def test_every_request_says_that_a_mesh_asks():
    script = Script([OK_STREAM, TEXT, STOP, DONE, END_OF_BODY])
    async with serve(script) as url:
        await ask(url)
    assert b"x-hubspoke-hop: 1\r\n" in script.heads[0]


async def test_a_server_that_speaks_no_http_is_a_broken_server():
    assert type(await failure([b"220 smtp.example ESMTP\r\n"])) in {EngineProtocol, EngineTruncated}


async def test_a_server_that_is_not_there_is_unavailable():
    async with serve(Script([])) as url:
        pass

    with pytest.raises(EngineUnavailable):
        await ask(url)


async def test_closing_the_answer_hangs_up_at_once():
    script = Script([OK_STREAM, TEXT], hangs=True)
    async with serve(script) as url:
        client = OpenAiClient(Endpoint(url))
        answer = client.generate("m", HELLO, PLAIN, {})
        assert await anext(answer) == Delta("Hi")

        await answer.aclose()
        async with asyncio.timeout(5):
            await script.hung_up.wait()
        await client.aclose()


async def test_cancelling_who_reads_hangs_up_at_once():
    script = Script([OK_STREAM, TEXT], hangs=True)
    async with serve(script) as url:
        client = OpenAiClient(Endpoint(url))
        read_first = asyncio.Event()

        async def read() -> None:
            async with aclosing(client.generate("m", HELLO, PLAIN, {})) as answer:
                async for _ in answer:
                    read_first.set()

        reader = asyncio.create_task(read())
        await read_first.wait()
        reader.cancel()
        async with asyncio.timeout(5):
            await script.hung_up.wait()
            await asyncio.wait({reader})
        await client.aclose()


async def test_what_the_engine_said_is_in_the_log_and_the_key_is_not(caplog: pytest.LogCaptureFixture):
    async with serve(Script([refusal(400, {"error": {"message": "no such role"}})])) as url:
        with pytest.raises(InvalidRequest), caplog.at_level(logging.WARNING):
            await ask(url, api_key="sesame")

    (record,) = [record for record in caplog.records if record.message == "engine failed"]
    assert "no such role" in record.detail
    assert "sesame" not in caplog.text + str(vars(record)) + repr(Endpoint(url, "sesame"))


async def test_a_list_of_models_is_their_ids():
    async with serve(Script([refusal(200, {"data": [{"id": "a"}, {"id": "b", "object": "model"}]})])) as url:
        client = OpenAiClient(Endpoint(url))
        assert await client.models() == (Served("a"), Served("b"))
        await client.aclose()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal(401, {}), EngineUnavailable),
        (refusal(200, {"data": 5}), EngineProtocol),
        (b"", EngineTruncated),
    ],
)
async def test_a_list_of_models_that_is_none_is_a_failure(answer: bytes, kind: type[MeshError]):
    async with serve(Script([answer])) as url:
        client = OpenAiClient(Endpoint(url))
        with pytest.raises(kind):
            await client.models()
        await client.aclose()
