"""Work that is no answer, told in lines, or in one at its end when it is quick."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from hub.gateway.asking import while_listened_to
from hub.gateway.exchange import NDJSON
from hub.gateway.ollama.errors import described
from hub.gateway.ollama.lines import line
from hubspoke.errors import MeshError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from hub.gateway.exchange import Exchange


class Telling:
    """A response that begins with the first line that is said, or else when the work is over."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._latest = b""
        self._has_failed = False

    async def follow(self, work: Coroutine[None, None, None]) -> None:
        """Wait for the end of *work*, and end it when the client goes away.

        An error is raised as long as the status can still tell of it; later it is the last line.
        """
        try:
            await while_listened_to(self._exchange, asyncio.create_task(work), self._keep_alive)
        except MeshError as error:
            if not self._exchange.has_begun:
                raise
            self._has_failed = True
            await self._exchange.end(line(described(error)))

    def note(self, latest: bytes) -> None:
        """Keep a line for whoever waits long enough to wonder."""
        self._latest = latest

    async def say(self, said: bytes) -> None:
        """Send a line."""
        self._latest = said
        if not self._exchange.has_begun:
            await self._exchange.begin(200, NDJSON, {"cache-control": "no-cache"})
        await self._exchange.write(said)

    async def conclude(self, content: object) -> None:
        """End the response well, unless it has ended with an error."""
        if self._has_failed:
            return
        if self._exchange.has_begun:
            await self._exchange.end(line(content))
        else:
            await self._exchange.respond(200, msgspec.json.encode(content))

    async def _keep_alive(self) -> None:
        if self._latest:
            await self.say(self._latest)
