"""Engines asked without any adapter: a socket, one request, and a count of the pieces of text that come back."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

READ_BYTES: Final = 1 << 16
ANSWER_S_MAX: Final = 60.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer: seconds to its first text, seconds in all, and how many pieces of text it had."""

    first_s: float
    whole_s: float
    pieces: int


@dataclass(frozen=True, slots=True)
class Bare:
    """A server at *socket*, or at *port* of the loopback.

    A line of its answer holds text when *mark* is in it and is not followed by the quotation mark that ends it.
    """

    path: str
    body: Mapping[str, object]
    mark: bytes
    port: int = 0
    socket: Path | None = None
    key: str = ""

    async def ask(self, prompt: str) -> Seen:
        """Ask once, and read the answer to its end."""
        async with asyncio.timeout(ANSWER_S_MAX):
            began_at = time.perf_counter()
            reader, writer = await self._connect()
            try:
                writer.write(self._request(prompt))
                return await self._read(reader, began_at)
            finally:
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.socket is not None:
            return await asyncio.open_unix_connection(self.socket)
        return await asyncio.open_connection("127.0.0.1", self.port)

    def _request(self, prompt: str) -> bytes:
        content = json.dumps({**self.body, "messages": [{"role": "user", "content": prompt}]}).encode()
        head = [
            f"POST {self.path} HTTP/1.1",
            "Host: engine",
            "Content-Type: application/json",
            f"Content-Length: {len(content)}",
            "Connection: close",
            *([f"Authorization: Bearer {self.key}"] if self.key else []),
        ]
        return "\r\n".join([*head, "", ""]).encode() + content

    async def _read(self, reader: asyncio.StreamReader, began_at: float) -> Seen:
        first_s, pieces, rest, empty = 0.0, 0, b"", self.mark + b'"'
        status = await reader.readline()
        while received := await reader.read(READ_BYTES):
            lines, end, rest = (rest + received).rpartition(b"\n")
            found = lines.count(self.mark) - lines.count(empty) if end else 0
            if found and not pieces:
                first_s = time.perf_counter() - began_at
            pieces += found
        if not pieces:
            raise RuntimeError(f"the engine gave no text: {status!r}")
        return Seen(first_s, time.perf_counter() - began_at, pieces)
