"""The heartbeat: says that the spoke is alive and what it has, and does what the hub wants done."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from hubspoke.api.mesh.v1 import mesh_pb2 as pb
from hubspoke.errors import ProtocolViolation, Unreachable, Unsupported
from hubspoke.types import Place, TaskKey
from hubspoke.wire import inventory as inventory_wire
from hubspoke.wire import tasks as tasks_wire
from hubspoke.wire import times
from hubspoke.wire.status import failure_to_wire
from spoke.core.coalesce import flush_interval_s
from spoke.core.inventory import is_news
from spoke.link.pulls import Pulls

if TYPE_CHECKING:
    from hubspoke.clock import Clock
    from hubspoke.errors import MeshError
    from hubspoke.types import Inventory
    from spoke.link.machine import Machine
    from spoke.link.standing import Standing
    from spoke.link.stream import Stream
    from spoke.link.tasks.running import Tasks

METHOD: Final = "/hubspoke.api.mesh.v1.MeshService/Heartbeat"
DIRECTIVES_MAX: Final = 256
"""Directives that may wait for their turn; a hub that wants more at once is broken."""

log = logging.getLogger(__name__)


class Heartbeat:
    """The spoke's end of the Heartbeat stream. *told* is the inventory that the hub knows from Register."""

    def __init__(
        self,
        stream: Stream[pb.HeartbeatRequest, pb.HeartbeatResponse],
        standing: Standing,
        machine: Machine,
        clock: Clock,
        *,
        told: Inventory,
        tasks: Tasks,
    ) -> None:
        self._stream = stream
        self._standing = standing
        self._machine = machine
        self._clock = clock
        self._told = told
        self._tasks = tasks
        self._sequence = 0
        self._soon = asyncio.Event()  # a beat should not wait for its time
        self._directives: asyncio.Queue[pb.Directive] = asyncio.Queue(DIRECTIVES_MAX)
        self._results: list[pb.DirectiveResult] = []
        self._pulls = Pulls(machine, clock, self.hurry, self._ended)
        self._goodbye: pb.Goodbye | None = None
        self._silence: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Beat until `leave`; raise the MeshError that ended the stream otherwise."""
        self._listen_for_silence()
        try:
            with self._machine.on_change(self.hurry):
                async with asyncio.TaskGroup() as group:
                    obeying = group.create_task(self._obey())
                    group.create_task(self._beat())
                    await self._read(group)
                    obeying.cancel()
                    self._pulls.stop_all()
        finally:
            if self._silence is not None:
                self._silence.cancel()

    def hurry(self) -> None:
        """Let the next beat go at once."""
        self._soon.set()

    def leave(self, why: str) -> None:
        """Let the next beat be the last one, and go at once."""
        self._goodbye = pb.Goodbye(why=why)
        self._soon.set()

    def abort(self, why: MeshError) -> None:
        """End the stream at once."""
        self._stream.abort(why)

    async def _beat(self) -> None:
        while self._goodbye is None:
            await self._stream.write(self._next())
            with suppress(TimeoutError):
                async with asyncio.timeout(self._standing.heartbeat_s):
                    await self._soon.wait()
            self._soon.clear()
        await self._stream.write(self._next())
        await self._stream.finish()

    def _next(self) -> pb.HeartbeatRequest:
        self._sequence += 1
        beat = pb.HeartbeatRequest(
            session=self._standing.session,
            sequence=self._sequence,
            sent_at=times.timestamp(self._clock.now()),
            results=self._results,
            draining=self._standing.draining,
            goodbye=self._goodbye,
            progress=self._pulls.take_news(),
        )
        self._results.clear()
        if self._sequence == 1:
            beat.held_tasks.extend(tasks_wire.held_to_wire(self._tasks.held()))
        inventory = self._machine.inventory
        if is_news(inventory, self._told):
            beat.inventory.CopyFrom(inventory_wire.to_wire(inventory))
            self._told = inventory
        return beat

    async def _read(self, group: asyncio.TaskGroup) -> None:
        while (message := await self._stream.read()) is not None:
            self._listen_for_silence()
            if message.HasField("flush_interval"):
                self._standing.flush_s = flush_interval_s(times.seconds(message.flush_interval))
            for key in message.settled_tasks:
                await self._tasks.settle(TaskKey(key))
            for directive in message.directives:
                self._accept(directive, group)
        if self._goodbye is None:
            raise Unreachable("the hub has closed the heartbeat")

    def _listen_for_silence(self) -> None:
        """Give the hub one more lease to answer: a connection can be dead without anybody having closed it."""
        if self._silence is not None:
            self._silence.cancel()
        lease_s = self._standing.lease_s
        gone = Unreachable(f"the hub has said nothing for {lease_s:g} s")
        self._silence = asyncio.get_running_loop().call_later(lease_s, self._stream.abort, gone)

    def _accept(self, directive: pb.Directive, group: asyncio.TaskGroup) -> None:
        match directive.WhichOneof("action"):
            case "pull":
                pull = directive.pull
                self._pulls.start(directive.id, Place(pull.engine, pull.model), group)
            case "stop_pull":
                self._pulls.stop(directive.stop_pull.directive)
                self._ended(directive.id, None, 0.0)
            case _ if self._directives.full():
                raise ProtocolViolation(f"more than {DIRECTIVES_MAX} directives wait already")
            case _:
                self._directives.put_nowait(directive)

    async def _obey(self) -> None:
        """Do what the hub wants, in order; a load may take minutes while the beats go on."""
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
        self._soon.set()

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
