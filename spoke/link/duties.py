"""What the hub wants done beside answering. It goes on over a change of the connection, and ends when the spoke is lost."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from hubspoke.api.mesh.v1 import mesh_pb2 as pb
from hubspoke.errors import InternalError, ProtocolViolation, Unsupported
from hubspoke.types import Place
from hubspoke.wire import times
from hubspoke.wire.status import failure_to_wire
from spoke.link.pulls import Pulls

if TYPE_CHECKING:
    from collections.abc import Callable

    from hubspoke.clock import Clock
    from hubspoke.errors import MeshError
    from spoke.link.machine import Machine

DIRECTIVES_MAX: Final = 256
"""Directives that may wait for their turn; a hub that wants more at once is broken."""

log = logging.getLogger(__name__)


class Duties:
    """The directives of one stay in the mesh, which is one session or several that go on in each other.

    `run` it for as long as that lasts. The newest heartbeat is told with `tell_with` that there is something to say.
    """

    def __init__(self, machine: Machine, clock: Clock) -> None:
        self._machine = machine
        self._clock = clock
        self._hurry: Callable[[], None] = lambda: None
        self._directives: asyncio.Queue[pb.Directive] = asyncio.Queue(DIRECTIVES_MAX)
        self._results: list[pb.DirectiveResult] = []
        self._pulls = Pulls(machine, clock, self._soon, self._ended)
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Do what the hub wants, until cancelled: in order, but for pulls. A load may take minutes while the beats go on."""
        async with asyncio.TaskGroup() as self._group:
            try:
                await self._obey()
            finally:
                self._pulls.stop_all()

    def tell_with(self, hurry: Callable[[], None]) -> None:
        """Call *hurry* from now on when a beat should not wait for its time."""
        self._hurry = hurry

    def accept(self, directive: pb.Directive) -> None:
        """Take a directive in; raise ProtocolViolation when too many wait."""
        match directive.WhichOneof("action"):
            case "pull":
                if self._group is None:
                    raise InternalError("duties that do not run cannot begin a pull")
                pull = directive.pull
                self._pulls.start(directive.id, Place(pull.engine, pull.model), self._group)
            case "stop_pull":
                self._pulls.stop(directive.stop_pull.directive)
                self._ended(directive.id, None, 0.0)
            case _ if self._directives.full():
                raise ProtocolViolation(f"more than {DIRECTIVES_MAX} directives wait already")
            case _:
                self._directives.put_nowait(directive)

    def take_results(self) -> list[pb.DirectiveResult]:
        """Give what has become of directives and was not told yet."""
        results, self._results = self._results, []
        return results

    def take_news(self) -> list[pb.DirectiveProgress]:
        """Give how far each pull has come, unless that was told already."""
        return self._pulls.take_news()

    def _soon(self) -> None:
        self._hurry()

    async def _obey(self) -> None:
        while True:
            directive = await self._directives.get()
            with self._machine.obeying():
                await self._carry_out(directive)
                while not self._directives.empty():
                    await self._carry_out(self._directives.get_nowait())

    async def _carry_out(self, directive: pb.Directive) -> None:
        began_at = self._clock.monotonic()
        failure = await self._done(directive)
        self._ended(directive.id, failure, self._clock.monotonic() - began_at)

    def _ended(self, directive: int, failure: MeshError | None, took_s: float) -> None:
        log.info(
            "directive done" if failure is None else "directive failed",
            extra={"directive": directive, "took_s": round(took_s, 3), "why": failure and failure.message},
        )
        self._results.append(
            pb.DirectiveResult(
                id=directive,
                failure=None if failure is None else failure_to_wire(failure),
                took=times.duration(took_s),
            )
        )
        self._soon()

    async def _done(self, directive: pb.Directive) -> MeshError | None:
        match directive.WhichOneof("action"):
            case "load":
                load = directive.load
                return await self._machine.load(Place(load.engine, load.model), load.context_tokens)
            case "unload":
                unload = directive.unload
                return await self._machine.unload(Place(unload.engine, unload.model))
            case "delete":
                delete = directive.delete
                return await self._machine.delete(Place(delete.engine, delete.model))
            case _:
                return Unsupported("this spoke does not know such a directive; update it")
