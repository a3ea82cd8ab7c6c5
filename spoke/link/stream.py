"""A two-way stream to the hub: the one place that knows how grpc.aio tells that a stream is over.

Nobody may cancel a read or a write, or put a timeout around one: grpc.aio answers by cancelling the whole stream, and
the message that was on its way is lost. A deadline is a timer that calls `abort`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import grpc
from google.protobuf.message import DecodeError

from hubspoke.errors import ProtocolViolation, Unreachable
from hubspoke.wire.status import error_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from hubspoke.errors import MeshError


class Encodable(Protocol):
    """A message of protobuf, as far as sending it goes."""

    def SerializeToString(self) -> bytes:  # noqa: N802  # protobuf's name
        """Encode the message."""
        ...


Up = TypeVar("Up", bound=Encodable)
Down = TypeVar("Down")


class Stream(Generic[Up, Down]):
    """Messages up and messages down, with one reader and one writer. It fails with a MeshError only."""

    def __init__(self, channel: grpc.aio.Channel, method: str, parse: Callable[[bytes], Down]) -> None:
        # Parsed here and not by grpc.aio, which would log garbage and hand out None.
        self._call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(method)()
        self._parse = parse
        self._aborted_by: MeshError | None = None

    async def read(self) -> Down | None:
        """Give the next message, or None once the hub has said its last."""
        try:
            body = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error
        except asyncio.CancelledError:
            raise self._why_cancelled() from None
        if not isinstance(body, bytes):
            return None
        try:
            return self._parse(body)
        except DecodeError as error:
            raise ProtocolViolation(
                "the hub sent bytes that are no message; is it of another version?"
            ) from error

    async def write(self, message: Up) -> None:
        """Send *message*; wait while the hub does not read."""
        try:
            await self._call.write(message.SerializeToString())
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error
        except asyncio.CancelledError:
            raise self._why_cancelled() from None
        except asyncio.InvalidStateError:
            raise await self._why_over() from None

    async def finish(self) -> None:
        """Say that nothing more will be written; the hub answers by ending the stream."""
        try:
            await self._call.done_writing()
        except asyncio.CancelledError:
            raise self._why_cancelled() from None

    def abort(self, why: MeshError) -> None:
        """End the stream at once; whoever reads or writes gets *why*. Later calls change nothing."""
        if self._aborted_by is None and not self._call.done():
            self._aborted_by = why
            self._call.cancel()

    def _why_cancelled(self) -> BaseException:
        """Tell a stream that was aborted from a task that is cancelled: grpc.aio says the same for both."""
        task = asyncio.current_task()
        if self._aborted_by is None or (task is not None and task.cancelling()):
            return asyncio.CancelledError()
        return self._aborted_by

    async def _why_over(self) -> BaseException:
        """Give the reason of a stream that had ended before it was written to."""
        if self._aborted_by is not None:
            return self._aborted_by
        if await self._call.code() is grpc.StatusCode.OK:
            return Unreachable("the hub has closed the stream")
        details = await self._call.details()
        return Unreachable(f"the hub has ended the stream ({details})")
