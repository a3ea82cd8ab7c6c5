"""HTTP clients without a library's weight: a socket, one request, and an exact account of what comes back."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import httptools
import httpx
import msgspec

from bench.pieces import OLLAMA, Pieces
from bench.processes import LOOK_EVERY_S, require_alive

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

PROMPT: Final = "reverse abcde"
"""What the tiny model can do, so that it has something to say."""
ANSWER_S_MAX: Final = 60.0
READY_S_MAX: Final = 120.0
"""Some programs take half a minute to start."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where to ask, for which model, with which key. *anchors* is a PEM file, and empty for plain HTTP."""

    port: int
    path: str
    dialect: str
    model: str
    key: str = ""
    anchors: str = ""
    ticks: bool = True
    """Whether the model says what the metronome says, so that every token can be checked."""

    def request(self, tokens: int) -> bytes:
        """Give a whole request for a streamed answer of at most so many tokens."""
        limit = {"options": {"num_predict": tokens}} if self.dialect == OLLAMA else {"max_tokens": tokens}
        said = [{"role": "user", "content": PROMPT}]
        content = json.dumps(
            {"model": self.model, "messages": said, "stream": True, "temperature": 0, **limit}
        )
        head = [
            f"POST {self.path} HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            "Content-Type: application/json",
            f"Content-Length: {len(content)}",
            *([f"Authorization: Bearer {self.key}"] if self.key else []),
        ]
        return "\r\n".join([*head, "", content]).encode()


class Answer(asyncio.Protocol):
    """One answer on a connection of its own. `done` gets the time at which it had come to its end."""

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces
        self.first_at: float | None = None
        self.done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._status = 0
        self._bodies: list[bytes] = []
        self._is_complete = False

    def on_body(self, body: bytes) -> None:
        """Take some of the body, without the frames of its chunks."""
        self._bodies.append(body)

    def on_message_complete(self) -> None:
        """Note that the response is over."""
        self._is_complete = True

    def data_received(self, data: bytes) -> None:
        """Account for what has come."""
        now = time.perf_counter()
        self._parser.feed_data(data)
        bodies, self._bodies = self._bodies, []
        try:
            self._take(b"".join(bodies), now)
        except (RuntimeError, msgspec.DecodeError) as error:
            self._fail(error)

    def connection_lost(self, _error: Exception | None) -> None:
        """End with an error, unless everything has come."""
        self._fail(RuntimeError(f"the connection was lost after {self.pieces.tokens} tokens"))

    def _take(self, body: bytes, now: float) -> None:
        status = self._parser.get_status_code()
        if status != 200:
            raise RuntimeError(f"answered with {status}: {body.decode(errors='replace')[:300]}")
        if self.pieces.feed(body) and self.first_at is None:
            self.first_at = now
        if self._is_complete and not self.done.done():
            self.pieces.require_whole()
            self.done.set_result(now)

    def _fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


@asynccontextmanager
async def connected(target: Target) -> AsyncIterator[tuple[Answer, asyncio.Transport]]:
    """Have a connection to *target*, as a client's pool has it, before anything is measured."""
    loop = asyncio.get_running_loop()
    context = ssl.create_default_context(cafile=target.anchors) if target.anchors else None
    transport, answer = await loop.create_connection(
        lambda: Answer(Pieces(target.dialect, target.ticks)), "127.0.0.1", target.port, ssl=context
    )
    try:
        yield answer, transport
    finally:
        transport.close()


async def first_s(target: Target, tokens: int) -> float:
    """Ask for *tokens*, and say how long the first text took to come; read the answer to its end."""
    async with asyncio.timeout(ANSWER_S_MAX), connected(target) as (answer, transport):
        began_at = time.perf_counter()
        transport.write(target.request(tokens))
        await answer.done
        if answer.first_at is None:
            raise RuntimeError("an answer without text")
        return answer.first_at - began_at


async def answering(process: Process, url: str, word: str = "", key: str = "") -> None:
    """Wait until *process* answers at *url*, with *word* in the answer."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with asyncio.timeout(READY_S_MAX), httpx.AsyncClient(trust_env=False, headers=headers) as client:
        while True:
            require_alive(process)
            with suppress(httpx.TransportError):  # not yet
                response = await client.get(url)
                if response.is_success and word in response.text:
                    return
            await asyncio.sleep(LOOK_EVERY_S)
