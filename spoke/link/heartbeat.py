"""The heartbeat: says that the spoke is alive and what it has, and hears what the hub wants done."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias

from hubspoke.api.mesh.v1 import mesh_pb2 as pb
from hubspoke.errors import Unreachable
from hubspoke.types import TaskKey
from hubspoke.wire import inventory as inventory_wire
from hubspoke.wire import tasks as tasks_wire
from hubspoke.wire import times
from spoke.core.coalesce import flush_interval_s
from spoke.core.inventory import is_news

if TYPE_CHECKING:
    from collections.abc import Callable

    from hubspoke.clock import Clock
    from hubspoke.errors import MeshError
    from hubspoke.types import Inventory
    from spoke.link.duties import Duties
    from spoke.link.machine import Machine
    from spoke.link.standing import Standing
    from spoke.link.stream import Stream
    from spoke.link.tasks.running import Tasks

METHOD: Final = "/hubspoke.api.mesh.v1.MeshService/Heartbeat"

Heard: TypeAlias = "Callable[[int, float], None]"
"""Told by every answer which generation of roots and issuers the hub has, and within how many seconds to take that over."""


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
        duties: Duties,
        heard: Heard,
    ) -> None:
        self._heard = heard
        self._stream = stream
        self._standing = standing
        self._machine = machine
        self._clock = clock
        self._told = told
        self._tasks = tasks
        self._sequence = 0
        self._soon = asyncio.Event()  # a beat should not wait for its time
        self._duties = duties
        self._goodbye: pb.Goodbye | None = None
        self._is_retired = False
        self._silence: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Beat until `leave` or `retire`; raise the MeshError that ended the stream otherwise."""
        self._listen_for_silence()
        self._duties.tell_with(self.hurry)
        try:
            with self._machine.on_change(self.hurry):
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._beat())
                    await self._read()
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

    def retire(self) -> None:
        """Beat no more: another session goes on with this one."""
        self._is_retired = True
        self._soon.set()

    def abort(self, why: MeshError) -> None:
        """End the stream at once."""
        self._stream.abort(why)

    async def _beat(self) -> None:
        while self._goodbye is None and not self._is_retired:
            await self._stream.write(self._next())
            with suppress(TimeoutError):
                async with asyncio.timeout(self._standing.heartbeat_s):
                    await self._soon.wait()
            self._soon.clear()
        if not self._is_retired:
            await self._stream.write(self._next())
        await self._stream.finish()

    def _next(self) -> pb.HeartbeatRequest:
        self._sequence += 1
        beat = pb.HeartbeatRequest(
            session=self._standing.session,
            sequence=self._sequence,
            sent_at=times.timestamp(self._clock.now()),
            results=self._duties.take_results(),
            draining=self._standing.draining,
            goodbye=self._goodbye,
            progress=self._duties.take_news(),
        )
        if self._sequence == 1:
            beat.held_tasks.extend(tasks_wire.held_to_wire(self._tasks.held()))
        inventory = self._machine.inventory
        if is_news(inventory, self._told):
            beat.inventory.CopyFrom(inventory_wire.to_wire(inventory))
            self._told = inventory
        return beat

    async def _read(self) -> None:
        while (message := await self._stream.read()) is not None:
            self._listen_for_silence()
            self._heard(message.bundle_generation, times.seconds(message.catch_up_within))
            if message.HasField("flush_interval"):
                self._standing.flush_s = flush_interval_s(times.seconds(message.flush_interval))
            for key in message.settled_tasks:
                await self._tasks.settle(TaskKey(key))
            for directive in message.directives:
                self._duties.accept(directive)
        if self._goodbye is None and not self._is_retired:
            raise Unreachable("the hub has closed the heartbeat")

    def _listen_for_silence(self) -> None:
        """Give the hub one more lease to answer: a connection can be dead without anybody having closed it."""
        if self._silence is not None:
            self._silence.cancel()
        lease_s = self._standing.lease_s
        gone = Unreachable(f"the hub has said nothing for {lease_s:g} s")
        self._silence = asyncio.get_running_loop().call_later(lease_s, self._stream.abort, gone)
