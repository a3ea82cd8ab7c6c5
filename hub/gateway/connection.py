"""One HTTP connection as uvicorn has it, held to limits that it has none for: who is not let in must not use the hub up."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hub.relay.work import SINK_STALL_S

if TYPE_CHECKING:
    import asyncio
    import ssl

    from starlette.types import Message, Receive, Scope, Send
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

HEAD_BYTES_MAX: Final = 64 * 1024
"""Bytes that a request's line and headers may have, beside what one read brings at once."""
HEAD_S_MAX: Final = 30.0
"""How long a client may take from its connection, or the first byte of a request, to the end of the headers."""
STALL_S: Final = SINK_STALL_S
"""How long a client may take nothing of what is sent to it."""

_HEAD_END: Final = b"\r\n\r\n"
_UPGRADE: Final = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n"
)


class Connection(HttpToolsProtocol):
    """Closes itself on clients that send no request, too much of one, or take no answer.

    The application learns of the client's certificate, which uvicorn keeps to itself, and no client of HTTP/1.0 gets what
    only HTTP/1.1 knows.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._awaits_head = True
        self._has_ended = False
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Note who is there; turn away what is too much."""
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            transport.abort()
            return
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        shown = None if tls is None else tls.getpeercert(binary_form=True)
        self.app_state = {**self.app_state, "peer_certificate": shown}
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        self._head_timer = _ended(self._head_timer)
        self._stall_timer = _ended(self._stall_timer)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, as long as the headers keep within their limits."""
        if self._awaits_head:
            data = _without_upgrade(data)
            self._expect_head()
        self._has_ended = False
        super().data_received(data)
        if self._awaits_head and not self._has_ended:  # all of it was headers
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
                more = [b"%b: %b\r\n" % header for header in self.server_state.default_headers]
                self.transport.write(b"".join((_TOO_LARGE, *more, b"\r\n")))
                self.transport.close()

    def on_headers_complete(self) -> None:
        """Begin to serve a request: whoever asks on has not gone, and what is written from now on would hide what it takes."""
        if not self.flow.write_paused:
            self._stall_timer = _ended(self._stall_timer)
        self._awaits_head = False
        self._head_bytes = 0
        self._head_timer = _ended(self._head_timer)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Be ready for the next request."""
        self._awaits_head = self._has_ended = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, and not for ever for the rest of one that was answered before it was whole.

        Nor for a client that leaves the end of its answer: to close is to wait until it has taken all of it.
        """
        super().on_response_complete()
        if not self._awaits_head and not self.transport.is_closing():
            self._expect_head()
        if self._stall_timer is None:
            self._watch_reader()

    def pause_writing(self) -> None:
        """Watch whether a client that has much to read yet reads it."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """Have no doubt about the client, unless this was the end of its answer."""
        self._stall_timer = _ended(self._stall_timer)
        super().resume_writing()
        if self._has_answered:
            self._watch_reader()

    @property
    def _has_answered(self) -> bool:
        """Whether no answer is under way."""
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]  # none before a request

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        is_old = cycle.scope["http_version"] != "1.1"
        super()._start_asgi_task(cycle, _without_chunks(app, cycle) if is_old else app)

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_S_MAX, self._head_overdue)

    def _head_overdue(self) -> None:
        self._head_timer = None
        if self._has_answered:
            self.transport.close()
        # Otherwise the answer before it is under way, and whoever gets that may take any time for the next request.

    def _watch_reader(self) -> None:
        self._stall_timer = _ended(self._stall_timer)
        left = self.transport.get_write_buffer_size()
        if left:
            self._stall_timer = self.loop.call_later(STALL_S, self._reader_overdue, left)

    def _reader_overdue(self, left_before: int) -> None:
        self._stall_timer = None
        if self.transport.get_write_buffer_size() < left_before:
            self._watch_reader()
        else:
            self.transport.abort()  # what is left will not be taken either


def _ended(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    if timer is not None:
        timer.cancel()
    return None


def _without_chunks(app: Any, cycle: RequestResponseCycle) -> Any:
    """Serve a client that knows no chunks: what has no length ends with the connection (RFC 9112, 6.1 and 6.3).

    Nor does it know what 100 means (RFC 9110, 10.1.1).
    """
    cycle.waiting_for_100_continue = False

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        has_length = True

        async def send_plainly(message: Message) -> None:
            nonlocal has_length
            if message["type"] == "http.response.start":
                has_length = any(name == b"content-length" for name, _ in message["headers"])
                if not has_length:
                    cycle.keep_alive, cycle.chunked_encoding = False, False
            elif not has_length:
                cycle.expected_content_length = len(message["body"])  # for uvicorn, all that is left
            await send(message)

        await app(scope, receive, send_plainly)

    return serve


def _without_upgrade(data: bytes) -> bytes:
    """Leave out a wish to speak another protocol, as servers may.

    Java's own client wishes so with every first request, and the parser takes the body for the other protocol's.
    """
    end = data.find(_HEAD_END)
    head = data if end < 0 else data[:end]
    return _UPGRADE.sub(b"", head) + data[len(head) :] if _UPGRADE.search(head) else data
