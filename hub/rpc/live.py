"""Every call that runs, by who makes it, so that it can be ended when they may not be here any more."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from hub.identities import REFUSED
from hubspoke.errors import RateLimited, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    import grpc

    from hub.audit import Audit
    from hubspoke.errors import MeshError
    from pki.identity import NodeName
    from pki.policy import Peer

    Context = grpc.aio.ServicerContext[Any, Any]

CALLS_PER_NODE_MAX: Final = 1_024
"""Of a spoke: two sessions with every Work stream, while it changes its certificate, and more than enough beside."""

OPENING_S: Final = 1.0
"""How long a cut waits for the first message of an answer to be under way."""


class Live:
    """Knows the calls of the mesh port, and those over HTTP whose caller has shown a certificate."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._calls: dict[NodeName, set[LiveCall]] = {}

    def __len__(self) -> int:
        """Count the calls."""
        return sum(map(len, self._calls.values()))

    def __iter__(self) -> Iterator[Peer]:
        """Give the caller of each call."""
        return (call.peer for calls in self._calls.values() for call in calls)

    def call(
        self,
        peer: Peer,
        context: Context | None = None,
        interrupt: Callable[[MeshError], None] | None = None,
    ) -> LiveCall:
        """Give a block in which the task that runs it serves *peer*; it raises Unauthenticated when the call is cut.

        The block is given the context to serve with, in the place of *context*. With *interrupt* a cut calls that, which has
        to see to the end of the block, and nothing is raised. Raise RateLimited when the node has too many calls already.
        """
        if len(self._calls.get(peer.identity.name, ())) >= CALLS_PER_NODE_MAX:
            raise RateLimited(
                f"this identity has {CALLS_PER_NODE_MAX} calls under way, and no more are served at a time",
                limit=CALLS_PER_NODE_MAX,
                retry_after_s=1,
            )
        return LiveCall(self._calls, peer, context, interrupt)

    def cut(self, name: NodeName) -> int:
        """End all calls of a node at once, as Unauthenticated, and say how many."""
        return self._cut(self._calls.get(name, ()))

    def cut_where(self, refused: Callable[[Peer], bool]) -> int:
        """End all calls of the peers that are *refused*, and say how many."""
        return self._cut(call for calls in self._calls.values() for call in calls if refused(call.peer))

    def _cut(self, calls: Iterable[LiveCall]) -> int:
        found = [call for call in calls if not call.is_cut]
        counts: defaultdict[tuple[str, str], int] = defaultdict(int)
        for call in found:
            call.cut()
            counts[call.peer.identity.name, call.peer.serial_hex] += 1
        for (node, serial), count in counts.items():
            self._audit.note("stream.cut", node=node, serial=serial, calls=count)
        return len(found)


class LiveCall:
    """The time in which one call runs, in one task."""

    __slots__ = ("_calls", "_context", "_interrupt", "_task", "is_cut", "is_opening", "peer")

    def __init__(
        self,
        calls: dict[NodeName, set[LiveCall]],
        peer: Peer,
        context: Context | None,
        interrupt: Callable[[MeshError], None] | None,
    ) -> None:
        self.peer = peer
        self.is_cut = False
        self.is_opening = False
        """Whether the first message of an answer is under way."""
        self._calls = calls
        self._context = context
        self._interrupt = interrupt
        self._task: asyncio.Task[object] | None = None

    def cut(self) -> None:
        """End it."""
        self.is_cut = True
        if self._task is None:
            return
        if self._interrupt is not None:
            self._interrupt(Unauthenticated(REFUSED))
        elif self.is_opening:
            asyncio.get_running_loop().call_later(OPENING_S, self._give_up, self._task)
        else:
            self._task.cancel()

    def __enter__(self) -> Any:
        """Begin, in the task that is running, and give the context to serve with."""
        self._task = asyncio.current_task()
        self._calls.setdefault(self.peer.identity.name, set()).add(self)
        return None if self._context is None else Opening(self._context, self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End; however it came to that, one that was cut ends as Unauthenticated."""
        name = self.peer.identity.name
        of_node = self._calls[name]
        of_node.discard(self)
        if not of_node:
            del self._calls[name]
        if self.is_cut and self._interrupt is None:
            if self._task is not None and isinstance(error, asyncio.CancelledError):
                self._task.uncancel()
            raise Unauthenticated(REFUSED) from None

    def _give_up(self, task: asyncio.Task[object]) -> None:
        if self.is_opening:
            task.cancel()


class Opening:
    """The context of a call whose first written message is not broken off when the call is cut.

    gRPC sends the headers with that message. When it is cancelled on the way, gRPC tries to send them again with the status,
    which fails, and the caller would wait for ever. Later messages may be broken off.
    """

    def __init__(self, context: Context, call: LiveCall) -> None:
        self._context = context
        self._call = call

    def __getattr__(self, name: str) -> Any:
        """Give whatever else the context has."""
        return getattr(self._context, name)

    async def write(self, message: Any) -> None:
        """Write the first message; those after it go to the context directly."""
        self._call.is_opening = True
        try:
            await self._context.write(message)
        finally:
            self._call.is_opening = False
        if self._call.is_cut:
            raise Unauthenticated(REFUSED)
        self.write = self._context.write  # type: ignore[method-assign]  # from now on without this detour
