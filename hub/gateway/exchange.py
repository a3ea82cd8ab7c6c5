"""One HTTP request and its response, as far as every dialect needs the same of it. ASGI, by way of uvicorn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from hubspoke.channel import MESSAGE_BYTES_MAX
from hubspoke.errors import InvalidRequest, RequestTooLarge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.types import Receive, Scope, Send

    from hubspoke.errors import MeshError

BODY_BYTES_MAX: Final = 2 * MESSAGE_BYTES_MAX
"""Pictures travel as base64 here, a third longer than on the mesh, which has the last word on what is too much."""
BODY_S_MAX: Final = 60.0
"""How long a client may take to send its request."""

DEGRADED_HEADER: Final = "x-hubspoke-degraded-from"

JSON: Final = "application/json"
SSE: Final = "text/event-stream"
NDJSON: Final = "application/x-ndjson"


class Exchange:
    """A request whose response is yet to come. What is said on every response stands in *common*."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._is_over = False
        self._work: asyncio.Task[object] | None = None
        self.has_begun = False
        """Whether the status has gone out, so that an error can only come as part of the body."""
        self.interruption: MeshError | None = None
        """Why its work was ended by the hub, if it was."""
        self.common: dict[str, str] = {}
        self.headers: Mapping[str, str] = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }

    @property
    def method(self) -> str:
        """The method, in capitals."""
        return str(self._scope["method"])

    @property
    def path(self) -> str:
        """The path, without its escapes."""
        return str(self._scope["path"])

    @property
    def parameters(self) -> Mapping[str, str]:
        """What the route has found in the path."""
        found: Mapping[str, str] = self._scope.get("path_params", {})
        return found

    @property
    def query(self) -> Mapping[str, str]:
        """The last value of each name in the query."""
        text = self._scope["query_string"].decode("latin-1")
        return {name: values[-1] for name, values in parse_qs(text, keep_blank_values=True).items()}

    @property
    def is_from_here(self) -> bool:
        """Whether it came over the loopback, to a server that listens there alone or not."""
        return self.address in {"127.0.0.1", "::1", "::ffff:127.0.0.1"}

    @property
    def address(self) -> str:
        """The address that it comes from; empty when that is unknown."""
        client = self._scope.get("client")
        return "" if client is None else str(client[0])

    @property
    def peer_certificate(self) -> bytes | None:
        """The client's certificate as DER, when it has shown one of this mesh; the connection has verified it."""
        shown: bytes | None = self._scope.get("state", {}).get("peer_certificate")
        return shown

    def degrade(self, wanted: str) -> None:
        """Say on the response that *wanted* was asked for and is not done, as the answer is worth having without."""
        told = [self.common[DEGRADED_HEADER]] if DEGRADED_HEADER in self.common else []
        self.common[DEGRADED_HEADER] = ", ".join([*told, wanted])

    async def body(self) -> bytes:
        """Read the whole request; raise RequestTooLarge, or InvalidRequest when it does not come."""
        declared = self.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > BODY_BYTES_MAX:
            raise _too_large()
        received = bytearray()
        try:
            async with asyncio.timeout(BODY_S_MAX):
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise InvalidRequest("the request broke off before it was whole")
                    received += message.get("body", b"")
                    if len(received) > BODY_BYTES_MAX:
                        raise _too_large()
                    if not message.get("more_body", False):
                        return bytes(received)
        except TimeoutError as error:
            raise InvalidRequest(f"the request did not come within {BODY_S_MAX:g} s") from error

    def works(self, work: asyncio.Task[object]) -> None:
        """Let *work* be what an interruption ends."""
        self._work = work
        if self.interruption is not None:
            work.cancel()

    def interrupt(self, error: MeshError) -> None:
        """End what is done for the client, which hears of *error*."""
        self.interruption = error
        if self._work is not None:
            self._work.cancel()

    async def gone(self) -> None:
        """Wait until the client has gone away. To be called after `body`."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def respond(
        self, status: int, body: bytes, content_type: str = JSON, headers: Mapping[str, str] | None = None
    ) -> None:
        """Give the whole response."""
        sized = {"content-length": str(len(body)), **(headers or {})}
        await self.begin(status, content_type, sized)
        await self.end(b"" if self.method == "HEAD" else body)

    async def begin(self, status: int, content_type: str, headers: Mapping[str, str] | None = None) -> None:
        """Send the status and the headers of a response whose body follows."""
        self.has_begun = True
        named = {"content-type": content_type, **self.common, **(headers or {})}
        await self._send(
            {"type": "http.response.start", "status": status, "headers": _encoded(named.items())}
        )

    async def write(self, data: bytes) -> None:
        """Send some of the body; wait while the client does not read. Nothing happens once it has gone."""
        if data and not self._is_over:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        """Send the rest of the body."""
        if not self._is_over:
            self._is_over = True
            await self._send({"type": "http.response.body", "body": data, "more_body": False})


def _encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    # A spoke's name or a model's may hold anything: what no header can carry is left out of it.
    return [
        (name.encode("latin-1"), _printable(value).encode("latin-1", "replace")) for name, value in headers
    ]


def _printable(value: str) -> str:
    if value.isprintable():  # nearly always, and far quicker than sign by sign
        return value
    return "".join(sign for sign in value if sign.isprintable())


def _too_large() -> RequestTooLarge:
    return RequestTooLarge(f"the request has more than {BODY_BYTES_MAX} bytes; send less")
