"""Clients that are not let in, send too much or too little, or take nothing: none of them uses the hub up."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from hub.config import GatewayConfig
from hub.gateway import asking, connection, listening
from hubspoke.http_marks import MESH_HEADER
from tests.fakes.engine import FakeEngine, Gate, a_model
from tests.fakes.pauses import pause
from tests.fakes.real_hub import WAIT_S
from tests.gateway.conftest import a_gateway
from tests.gateway.wire import ASK, CHAT, a_wire, asked

if TYPE_CHECKING:
    from pathlib import Path

    from tests.gateway.conftest import Gateway

MUCH = "x" * 100_000
NARROW_BYTES = 4096
STALL_S = 2.0
SIP_BYTES, SIP_S = 8_192, 0.02
"""How much at a time, and how soon again, whoever reads steadily reads."""


async def test_headers_without_end_are_refused(gateway: Gateway) -> None:
    async with a_wire(gateway) as wire:
        wire.send(b"GET / HTTP/1.1\r\n", b"x-more: 1\r\n" * 100_000)
        assert await wire.status() == 431
        await wire.is_closed()


async def test_one_header_without_end_is_refused(gateway: Gateway) -> None:
    async with a_wire(gateway) as wire:
        wire.send(b"GET / HTTP/1.1\r\nx-more: ", b"1" * 1_000_000)
        assert await wire.status() == 431


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET / HT"])
async def test_who_sends_no_whole_request_is_not_waited_for(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connection, "HEAD_S_MAX", 0.05)
    async with a_wire(gateway) as wire:
        wire.send(sent)
        await wire.is_closed()


async def test_who_was_refused_and_sends_on_is_not_read_for_ever(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_wire(gateway) as wire:
        # A first request, so that the connection is there: the short limit is none for how soon a head comes.
        wire.send(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert await wire.status() == 200
        monkeypatch.setattr(connection, "HEAD_S_MAX", 0.05)
        wire.send(b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{")
        assert await wire.status() == 401
        wire.send(b"{")
        await wire.is_closed()


async def test_more_connections_than_there_is_room_for_are_turned_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "CONNECTIONS_SPARE", 2)
    async with (
        a_gateway(tmp_path, GatewayConfig(port=0, requests_max=1)) as gateway,
        a_wire(gateway) as first,
        a_wire(gateway) as second,
        a_wire(gateway) as third,
    ):
        await third.is_closed()
        for wire in (first, second):
            wire.send(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert await wire.status() == 200


async def test_a_client_that_takes_nothing_gives_its_place_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "STALL_S", 0.1)
    engine = FakeEngine(a_model(), script=[MUCH] * 500)
    async with (
        a_gateway(tmp_path, GatewayConfig(port=0, requests_max=1)) as gateway,
        gateway.spoke(engine),
        a_wire(gateway) as wire,
    ):
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport has it
        wire.send(asked(gateway, body={**ASK, "stream": True}))
        async with asyncio.timeout(WAIT_S):
            await engine.closed.acquire()
            engine.script = ("hello",)
            while (await gateway.http.post(CHAT, json=ASK)).status_code != 200:
                pass


async def test_a_client_that_leaves_the_end_of_an_answer_gives_its_place_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end is less than what the hub would wait for while it writes, and more than what the system takes."""
    monkeypatch.setattr(connection, "STALL_S", 0.1)
    monkeypatch.setattr(listening, "CONNECTIONS_SPARE", 1)  # so that there is one place in all
    bind_narrowly(monkeypatch)
    async with (
        a_gateway(tmp_path, GatewayConfig(port=0, requests_max=1)) as gateway,
        gateway.spoke(FakeEngine(a_model(), script=["x" * 50_000])),
        a_wire(gateway, receives_bytes=NARROW_BYTES) as wire,
    ):
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport has it
        wire.send(asked(gateway))
        async with asyncio.timeout(WAIT_S):
            while not await is_let_in(gateway):
                pass


async def test_a_client_that_took_the_end_late_and_asks_on_is_not_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of one answer is long taken when as much of the next one is on its way."""
    monkeypatch.setattr(connection, "STALL_S", STALL_S)
    bind_narrowly(monkeypatch)
    engine = FakeEngine(a_model(), script=["x" * 20_000])
    async with (
        a_gateway(tmp_path, GatewayConfig(port=0)) as gateway,
        gateway.spoke(engine),
        a_wire(gateway, receives_bytes=NARROW_BYTES) as wire,
    ):
        wire.send(asked(gateway))
        assert await wire.status() == 200
        engine.script = [MUCH] * 40
        wire.send(asked(gateway, body={**ASK, "stream": True}))
        until, end = asyncio.get_running_loop().time() + 1.5 * STALL_S, b""
        async with asyncio.timeout(2 * WAIT_S):
            while not end.endswith(b"0\r\n\r\n"):
                end = (end + await wire.reader.read(SIP_BYTES))[-100:]
                if asyncio.get_running_loop().time() < until:
                    await pause(SIP_S)
                assert not wire.reader.at_eof()
    assert b"[DONE]" in end


def bind_narrowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the system take little of what the gateway sends."""
    bind = listening._bind  # nothing else sees the socket

    def narrow(host: str, port: int) -> socket.socket:
        made = bind(host, port)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, NARROW_BYTES)  # connections inherit it
        return made

    monkeypatch.setattr(listening, "_bind", narrow)


async def is_let_in(gateway: Gateway) -> bool:
    """Whether there is room for one more connection."""
    async with a_wire(gateway) as wire:
        wire.send(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        try:
            return await wire.status() == 200
        except (ConnectionResetError, asyncio.IncompleteReadError):
            return False


async def test_a_wish_for_another_protocol_does_not_cost_the_body(gateway: Gateway) -> None:
    wish = ("connection: Upgrade, HTTP2-Settings", "UPGRADE: h2c", "http2-settings: AAEAAEAAAAIAAAAB")
    async with gateway.spoke(FakeEngine(a_model())), a_wire(gateway) as wire:
        for _ in range(2):
            wire.send(asked(gateway, *wish))
            assert await wire.status() == 200


async def test_what_is_no_http_is_answered_by_the_mesh_too(gateway: Gateway) -> None:
    async with a_wire(gateway) as wire:
        wire.send(b"\x16\x03\x01\x02\x00\r\n\r\n")
        assert await wire.status() == 400


async def test_a_path_with_a_slash_too_many_leads_nowhere_else(gateway: Gateway) -> None:
    response = await gateway.http.post(f"{CHAT}/", json=ASK, headers={"host": "evil.example"})
    assert (response.status_code, response.headers[MESH_HEADER]) == (404, "hubspoke.internal")


async def test_a_wrong_method_is_told_which_are_right(gateway: Gateway) -> None:
    response = await gateway.http.put(CHAT, json=ASK)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_without_end_is_ended(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, *, stream: bool
) -> None:
    monkeypatch.setattr(asking, "ANSWER_BYTES_MAX", 5 * len(MUCH))
    engine = FakeEngine(a_model(), script=[*[MUCH] * 10, Gate()])
    async with gateway.spoke(engine), asyncio.timeout(WAIT_S):
        response = await gateway.http.post(CHAT, json={**ASK, "stream": stream})
        await engine.closed.acquire()
    assert response.status_code == (200 if stream else 502)
    assert "more than 500000 bytes" in response.text


async def test_a_handshake_that_is_not_finished_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "HANDSHAKE_S_MAX", 0.2)
    async with (
        a_gateway(tmp_path, GatewayConfig(port=0, listen="0.0.0.0")) as gateway,
        a_wire(gateway) as wire,
    ):
        wire.send(b"\x16\x03\x01")  # a hello that never goes on
        await wire.is_closed()
