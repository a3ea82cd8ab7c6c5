"""Clients of HTTP/1.0, `ab` and some proxies among them: they know neither chunks nor 100, and get a body as it is."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from tests.fakes.engine import FakeEngine, a_model
from tests.fakes.real_hub import WAIT_S
from tests.gateway.wire import ASK, a_wire, asked

if TYPE_CHECKING:
    from tests.gateway.conftest import Gateway

STREAM = {**ASK, "stream": True}


async def answered(gateway: Gateway, request: bytes) -> tuple[dict[str, str], bytes]:
    """Send *request*, read until the hub closes the connection, and give the headers and the body."""
    async with a_wire(gateway) as wire, asyncio.timeout(WAIT_S):
        wire.send(request)
        head, _, body = (await wire.reader.read()).partition(b"\r\n\r\n")
    status, *lines = head.decode().lower().split("\r\n")
    assert status == "http/1.1 200 ok"
    return dict(line.split(": ", 1) for line in lines), body


async def test_a_stream_ends_with_the_connection(gateway: Gateway) -> None:
    async with gateway.spoke(FakeEngine(a_model(), script=["one ", "two"])):
        headers, body = await answered(gateway, asked(gateway, body=STREAM, version="1.0"))
    assert "transfer-encoding" not in headers
    assert "content-length" not in headers
    assert headers["connection"] == "close"
    *events, done, end = body.decode().split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "one two"


async def test_lines_end_with_the_connection(gateway: Gateway) -> None:
    async with gateway.spoke(FakeEngine(a_model(), script=["one ", "two"])):
        headers, body = await answered(gateway, asked(gateway, path="/api/chat", version="1.0"))
    assert "transfer-encoding" not in headers
    lines = [json.loads(line) for line in body.splitlines()]
    assert "".join(line["message"]["content"] for line in lines) == "one two"
    assert lines[-1]["done"]


async def test_a_whole_answer_has_its_length(gateway: Gateway) -> None:
    async with gateway.spoke(FakeEngine(a_model())):
        headers, body = await answered(gateway, asked(gateway, version="1.0"))
    assert "transfer-encoding" not in headers
    assert int(headers["content-length"]) == len(body)
    assert json.loads(body)["choices"][0]["message"]["content"] == "Hello world"


@pytest.mark.parametrize("wish", ["connection: keep-alive", "expect: 100-continue"])
async def test_what_it_may_not_wish_for_is_not_done(gateway: Gateway, wish: str) -> None:
    async with gateway.spoke(FakeEngine(a_model())):
        headers, body = await answered(gateway, asked(gateway, wish, body=STREAM, version="1.0"))
    assert headers["connection"] == "close"
    assert body.endswith(b"data: [DONE]\n\n")


async def test_http_1_1_has_chunks_as_before(gateway: Gateway) -> None:
    async with gateway.spoke(FakeEngine(a_model())):
        headers, body = await answered(gateway, asked(gateway, "connection: close", body=STREAM))
    assert headers["transfer-encoding"] == "chunked"
    assert body.endswith(b"\r\n0\r\n\r\n")


async def test_a_head_alone_has_no_body(gateway: Gateway) -> None:
    _, body = await answered(gateway, b"HEAD / HTTP/1.0\r\nhost: localhost\r\n\r\n")
    assert body == b""
