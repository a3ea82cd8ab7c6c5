"""Connections to a server: kept for the next request, and given up where the server has."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from hubspoke.errors import EngineTruncated
from hubspoke.types import Message, Request, Speaker
from spoke.engines.openai.dialect import PLAIN
from spoke.engines.openai.http import Endpoint, OpenAiClient
from tests.fakes.engine_server import END_OF_BODY, OK_STREAM, Script, event, serve

HELLO = Request("m", messages=(Message(Speaker.USER, "hello"),))
TEXT = event({"choices": [{"delta": {"content": "Hi"}}]})
STOP = event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
ANSWER = [OK_STREAM, TEXT, STOP, event("[DONE]"), END_OF_BODY]


@asynccontextmanager
async def client_of(script: Script) -> AsyncIterator[OpenAiClient]:
    async with serve(script) as url:
        client = OpenAiClient(Endpoint(url))
        try:
            async with asyncio.timeout(10):
                yield client
        finally:
            await client.aclose()


async def ask(client: OpenAiClient) -> None:
    async with aclosing(client.generate("m", HELLO, PLAIN, {})) as events:
        assert len([event async for event in events]) == 2


async def test_a_connection_serves_one_answer_after_the_other():
    script = Script(ANSWER, turns=3)
    async with client_of(script) as client:
        for _ in range(3):
            await ask(client)
    assert (len(script.heads), script.connections) == (3, 1)


async def test_a_request_that_meets_a_connection_closed_without_a_word_goes_out_again():
    script = Script(ANSWER)
    async with client_of(script) as client:
        await ask(client)
        await ask(client)
    assert (len(script.heads), script.connections) == (2, 2)


async def test_a_request_whose_fresh_connection_is_closed_does_not_go_out_again():
    script = Script([])
    async with client_of(script) as client:
        with pytest.raises(EngineTruncated):
            await ask(client)
    assert len(script.heads) == 1


async def test_a_connection_whose_answer_was_not_read_to_its_end_serves_no_other():
    script = Script(ANSWER[:-1], turns=2)
    async with client_of(script) as client:
        await ask(client)
        await ask(client)
    assert script.connections == 2
