"""Clients that read slowly, but steadily: they get all of it, and the hub keeps no more of it for them than for others."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httptools
import pytest

from hub import server
from hub.config import GatewayConfig
from hub.gateway import connection
from hub.gateway.openai.chat import DONE
from hub.relay import work
from tests.fakes.engine import FakeEngine, Gate, Step, a_model
from tests.fakes.pauses import pause
from tests.gateway.conftest import a_gateway
from tests.gateway.wire import ASK, asked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.gateway.conftest import Gateway

STALL_S = 3.0
"""Long enough that a machine which stands still for a second or two is not taken for a client that does."""
PAUSE_S = 0.3
MB = 1_000_000
READ_BYTES = 500_000
"""So much at a time, with a pause before each: 12 MB take more than two limits."""
BUFFERED_BYTES = 64 * 1024
"""What the system may take for the client beforehand."""
ON_THE_WAY_BYTES_MAX = 6 * MB
"""Most of it lies in the system's own buffer on the hub's side, which takes up to 4 MB."""


@pytest.fixture(autouse=True)
def _short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "STALL_S", STALL_S)
    monkeypatch.setattr(work, "SINK_STALL_S", STALL_S)
    monkeypatch.setattr(server, "SWEEP_S", PAUSE_S)


class SlowClient:
    """Asks, and reads a little now and then. `text_bytes` counts the letters of which the whole answer consists, and
    `end` is the last that came.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._parser = httptools.HttpResponseParser(self)
        self.text_bytes = 0
        self.end = b""
        self.is_complete = False

    def on_body(self, body: bytes) -> None:
        self.text_bytes += body.count(b"x")
        self.end = (self.end + body)[-len(DONE) :]

    def on_message_complete(self) -> None:
        self.is_complete = True

    async def ask(self, question: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._sock, question)

    async def read(self) -> None:
        """Wait, and read the next piece."""
        await pause(PAUSE_S)
        left = READ_BYTES
        while left > 0 and not self.is_complete:
            received = await asyncio.get_running_loop().sock_recv(self._sock, left)
            assert received, "the hub has hung up"
            self._parser.feed_data(received)
            left -= len(received)


@asynccontextmanager
async def a_slow_client(gateway: Gateway) -> AsyncIterator[SlowClient]:
    with socket.socket() as sock:
        sock.setblocking(False)  # noqa: FBT003  # as it is called
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFERED_BYTES)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", gateway.hub.ports.gateway[0]))
        yield SlowClient(sock)


async def test_whoever_reads_steadily_gets_all_of_it_and_the_engine_waits(tmp_path: Path) -> None:
    marks = [Gate() for _ in range(12)]
    script: list[Step] = []
    for mark in marks:
        mark.open()
        script += ["x" * (MB // 10)] * 10 + [mark]
    async with (
        a_gateway(tmp_path, GatewayConfig(port=0)) as gateway,
        gateway.spoke(FakeEngine(a_model(), script=script)),
        a_slow_client(gateway) as client,
    ):
        began_at = asyncio.get_running_loop().time()
        await client.ask(asked(gateway, body={**ASK, "stream": True}))
        while not client.is_complete:
            await client.read()
            made_bytes = sum(mark.reached.is_set() for mark in marks) * MB
            assert made_bytes - client.text_bytes < ON_THE_WAY_BYTES_MAX
        took_s = asyncio.get_running_loop().time() - began_at
    assert (client.text_bytes >= 12 * MB, client.end) == (True, DONE)
    assert took_s > 2 * STALL_S


async def test_one_large_message_may_take_longer_than_the_limit(tmp_path: Path) -> None:
    async with (
        a_gateway(tmp_path, GatewayConfig(port=0)) as gateway,
        gateway.spoke(FakeEngine(a_model(), script=["x" * 12 * MB])),
        a_slow_client(gateway) as client,
    ):
        await client.ask(asked(gateway, body={**ASK, "stream": True}))
        while not client.is_complete:
            await client.read()
    assert (client.text_bytes >= 12 * MB, client.end) == (True, DONE)
