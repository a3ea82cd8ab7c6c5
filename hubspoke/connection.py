"""A live connection to the mesh: dialled, dialled again, and renewed in place."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from hubspoke import enrol
from hubspoke.channel import dial
from hubspoke.credentials import channel_credentials
from hubspoke.errors import Cancelled, EngineProtocol, EngineTruncated, Unreachable
from hubspoke.rejoin import valid_identity
from hubspoke.renewal import News, due_in_s, keep_fresh, try_to_renew
from hubspoke.wire import status

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
    from typing import Never, Self

    from hubspoke.clock import Clock
    from pki.credential import StoredIdentity
    from pki.files import NodeFiles

log = logging.getLogger(__name__)

T = TypeVar("T")
Said = TypeVar("Said")


@dataclass(slots=True)
class _Line:
    """One channel, and how many calls use it."""

    channel: grpc.aio.Channel
    calls: int = 0


class Connection:
    """The mesh behind one identity, as a context. Calls borrow the newest channel with `lease`.

    The certificate is renewed at half its life, make-before-break: the new channel is ready before it takes over,
    and the old one closes after its last call. One that has ended is exchanged for a new one. Calls that are still open
    when the context ends, and later ones, raise Cancelled. *addresses* are mesh addresses ("host:port", best first); without any,
    those that were stored with the identity.
    """

    def __init__(
        self, files: NodeFiles, addresses: Sequence[str], *, clock: Clock, chance: Callable[[], float]
    ) -> None:
        self._files = files
        self._addresses = tuple(addresses)
        self._clock = clock
        self._chance = chance
        self._dialling = asyncio.Lock()
        self._is_closed = False
        self._identity: StoredIdentity
        self._line: _Line
        self._renewal: asyncio.Task[Never]

    async def __aenter__(self) -> Self:
        """Dial. Raise Unreachable, what `valid_identity` raises for a certificate that has ended, or a PkiError for bad files."""
        self._identity = await valid_identity(self._files, self._clock)
        async with AsyncExitStack() as opening:
            self._line = _Line(await self._dial(self._identity))
            opening.push_async_callback(self._close)
            # First of all: a command that is over in a moment would never get to it beside its work.
            is_due = due_in_s(self._identity, self._clock.now(), self._chance()) == 0
            await try_to_renew(self._identity, self._renew if is_due else self._catch_up, self._clock)
            # No TaskGroup: it would wrap the errors of the caller's own block into an ExceptionGroup.
            renewal = keep_fresh(
                self._identity,
                self._renew,
                clock=self._clock,
                chance=self._chance,
                news=News(self._catch_up),
            )
            self._renewal = asyncio.create_task(renewal, name="renewal")
            self._renewal.add_done_callback(_tell_of_defect)
            opening.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close, and with it whatever call is still open."""
        self._renewal.cancel()
        await asyncio.wait([self._renewal])
        await self._close()

    async def call(self, ask: Callable[[grpc.aio.Channel], Awaitable[T]]) -> T:
        """Make a short call, and once more on a new channel when no hub is at the end of this one."""
        async with self.lease() as channel:
            with suppress(Unreachable):
                return await _typed(ask(channel))
        await self.redial(channel)
        async with self.lease() as channel:
            return await _typed(ask(channel))

    async def stream(
        self, ask: Callable[[grpc.aio.Channel], AsyncGenerator[T, None]]
    ) -> AsyncGenerator[T, None]:
        """Make a call that streams, and once more on a new channel when no hub was at the end of this one."""
        begun = False
        for may_redial in (True, False):
            async with self.lease() as channel:
                try:
                    async with aclosing(ask(channel)) as events:
                        async for event in events:
                            begun = True
                            yield event
                except Unreachable:
                    if begun or not may_redial:
                        raise
                else:
                    return
            await self.redial(channel)

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[grpc.aio.Channel]:
        """Lend the newest channel for one call; it stays open until the call ends."""
        self._require_open()
        line = self._line
        line.calls += 1
        try:
            yield line.channel
        except asyncio.CancelledError:
            # A call that ends with its channel is told as if this task had been cancelled.
            task = asyncio.current_task()
            if task is not None and not task.cancelling():
                self._require_open()
            raise
        finally:
            line.calls -= 1
            await self._close_if_left(line)

    async def redial(self, failed: grpc.aio.Channel) -> None:
        """Connect to whichever hub answers, unless somebody else has replaced the *failed* channel meanwhile."""
        async with self._dialling:
            self._require_open()
            if self._line.channel is failed:
                # Read anew: it may have ended meanwhile, or another process may have renewed it.
                await self._switch(await valid_identity(self._files, self._clock))

    async def _catch_up(self) -> StoredIdentity:
        """Take over roots and issuers that the hub has exchanged, if it has."""
        should_renew = await self.call(lambda channel: enrol.catch_up(channel, self._files, self._clock))
        return await self._renew() if should_renew else self._identity

    async def _renew(self) -> StoredIdentity:
        current = self._identity
        fresh = await self.call(lambda channel: enrol.renew(channel, self._files, current, self._clock))
        async with self._dialling:
            await self._switch(fresh)
        return fresh

    async def _switch(self, identity: StoredIdentity) -> None:
        fresh = _Line(await self._dial(identity))
        if self._is_closed:
            await fresh.channel.close()
        self._require_open()
        old, self._line = self._line, fresh
        self._identity = identity
        await self._close_if_left(old)

    async def _close(self) -> None:
        self._is_closed = True
        await self._line.channel.close()

    def _require_open(self) -> None:
        if self._is_closed:
            raise Cancelled("the client is closed; open another one")

    async def _close_if_left(self, line: _Line) -> None:
        if line is not self._line and line.calls == 0:
            await line.channel.close()

    async def _dial(self, identity: StoredIdentity) -> grpc.aio.Channel:
        credentials = channel_credentials(identity, self._files.load_anchors(now=self._clock.now()))
        # Read anew each time: there may be another hub by now.
        return await dial(self._addresses or self._files.load_addresses().mesh, credentials)


async def whole(
    call: grpc.aio.UnaryStreamCall[Any, Said], read: Callable[[Said], T | None], last: type[object]
) -> AsyncGenerator[T, None]:
    """Give what *call* streams, read by *read*, which gives None for what only a newer version knows.

    Raise a MeshError when the call fails, and EngineTruncated when it does not end with a *last*.
    """
    is_whole = False
    try:
        async for response in call:
            event = read(_decoded(response))
            if event is not None:
                is_whole = isinstance(event, last)
                yield event
    except grpc.aio.AioRpcError as failure:
        raise status.error_of(failure) from failure
    finally:
        call.cancel()
    if not is_whole:
        raise EngineTruncated("the answer broke off without an end; ask again")


def _decoded(response: Said | None) -> Said:
    # gRPC gives None for a message that it cannot decode, and logs why.
    if response is None:
        raise EngineProtocol("the other side has sent what cannot be read; is its version ours?")
    return response


def _tell_of_defect(renewal: asyncio.Task[Never]) -> None:
    """Log why *renewal* has ended, which it never should: the connection lives on, and its certificate does not."""
    if not renewal.cancelled() and (error := renewal.exception()) is not None:
        log.error("renewal has stopped unexpectedly", exc_info=error)


async def _typed(call: Awaitable[T]) -> T:
    try:
        return await call
    except grpc.aio.AioRpcError as failure:
        raise status.error_of(failure) from failure
