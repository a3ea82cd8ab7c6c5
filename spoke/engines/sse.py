"""Server-sent events from bytes, however they arrive cut; tolerant of what inference servers send in practice.

The format: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hubspoke.errors import EngineProtocol

EVENT_BYTES_MAX: Final = 4 * 1024 * 1024
"""Beyond the longest prompt that llama.cpp is let say again; an event that is larger never ends."""

MESSAGE: Final = "message"
ERROR: Final = "error"

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_LINE_ENDS: Final = (b"\n", b"\r")


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event. Its kind is "message" unless the server says otherwise."""

    kind: str
    data: str


class SseParser:
    """Takes bytes, gives the events that they complete. An event that the stream's end cuts off is dropped."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []  # pieces of a line whose end is still to come
        self._rest_bytes = 0
        self._kind = MESSAGE
        self._data: list[str] = []  # of an event whose end is still to come
        self._data_bytes = 0
        self._ends_with_cr = False
        self._is_first_line = True

    def feed(self, received: bytes) -> list[SseEvent]:
        """Give the events that *received* completes; raise EngineProtocol when one gets too large."""
        if self._ends_with_cr and received.startswith(b"\n"):
            received = received[1:]  # the other half of a line end that was cut in two
            self._ends_with_cr = False
        if not received:
            return []
        self._ends_with_cr = received.endswith(b"\r")
        events = [event for line in self._lines(received) if (event := self._line(line)) is not None]
        if self._rest_bytes + self._data_bytes > EVENT_BYTES_MAX:
            raise EngineProtocol(f"the engine sent an event of more than {EVENT_BYTES_MAX} bytes")
        return events

    def _lines(self, received: bytes) -> list[bytes]:
        """Give the lines that end in *received*, and keep what is left."""
        self._rest.append(received)
        self._rest_bytes += len(received)
        if not any(end in received for end in _LINE_ENDS):
            return []
        lines = b"".join(self._rest).splitlines(keepends=True)
        rest = b"" if lines[-1].endswith(_LINE_ENDS) else lines.pop()
        self._rest, self._rest_bytes = [rest], len(rest)
        return [line.rstrip(b"\r\n") for line in lines]

    def _line(self, line: bytes) -> SseEvent | None:
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode("utf-8", errors="replace")
        match name:
            case b"data":
                self._add(text, len(line))
            case b"event":
                self._kind = text or MESSAGE
            case b"error":  # llama.cpp used to send `error: {...}` where the format knows no such field
                self._kind = ERROR
                self._add(text, len(line))
            case _:  # an empty name is a comment, which servers send as a sign of life
                pass
        return None

    def _add(self, text: str, line_bytes: int) -> None:
        self._data.append(text)
        self._data_bytes += line_bytes

    def _dispatch(self) -> SseEvent | None:
        kind, data = self._kind, self._data
        self._kind, self._data, self._data_bytes = MESSAGE, [], 0
        return SseEvent(kind, "\n".join(data)) if data else None
