"""One session with a hub: Register, then a heartbeat and the slots, which live and die together."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

import grpc

from hubspoke.api.mesh.v1 import mesh_pb2 as pb
from hubspoke.api.mesh.v1.mesh_pb2_grpc import MeshServiceStub
from hubspoke.errors import Draining, Unreachable
from hubspoke.wire import inventory as inventory_wire
from hubspoke.wire.status import error_of
from spoke.link import heartbeat, standing, work
from spoke.link.boundary import first_error
from spoke.link.heartbeat import Heartbeat
from spoke.link.stream import Stream
from spoke.link.work import Work

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from hubspoke.clock import Clock
    from spoke.link.machine import Machine
    from spoke.link.standing import Standing
    from spoke.link.tasks.running import Tasks

REGISTER_TIMEOUT_S: Final = 10.0
IDLE_WAIT_S: Final = 900.0
"""How long a spoke with a new certificate waits for a moment without work before it makes one."""
DRAIN_S: Final = 30.0
"""How long running answers may take to end once no more is taken; what is left then is broken off."""
MOVE_DRAIN_S: Final = 3600.0
"""The same for a spoke that comes back with a new certificate: the old one still has hours, so there is no haste."""
CLOSE_S: Final = 5.0
"""How long the hub may take to hear the end of what was broken off, and again to answer the goodbye."""


async def register(
    channel: grpc.aio.Channel, machine: Machine, tasks: Tasks, *, slots: int, version: str, clock: Clock
) -> Session:
    """Ask the hub to take this spoke in; raise the MeshError with which it does not."""
    told = machine.inventory
    request = pb.RegisterRequest(inventory=inventory_wire.to_wire(told), slots=slots, agent_version=version)
    try:
        response = await MeshServiceStub(channel).Register(request, timeout=REGISTER_TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        raise error_of(error) from error
    welcome = standing.parse(response)
    beats = Heartbeat(
        Stream(channel, heartbeat.METHOD, pb.HeartbeatResponse.FromString),
        welcome,
        machine,
        clock,
        told=told,
        tasks=tasks,
    )
    posts = tuple(
        Work(number, Stream(channel, work.METHOD, pb.WorkResponse.FromString), welcome, machine, tasks)
        for number in range(slots)
    )
    return Session(welcome, beats, posts, machine)


class Session:
    """A hub that has taken this spoke in. `run` it once; end it with `leave` or `move`."""

    def __init__(
        self, welcome: Standing, beats: Heartbeat, slots: tuple[Work, ...], machine: Machine
    ) -> None:
        self.hub = welcome.hub
        self.number = welcome.session
        self._standing = welcome
        self._heartbeat = beats
        self._slots = slots
        self._machine = machine
        self._told = asyncio.Event()
        self._why = ""
        self._may_wait = False  # for a moment without work
        self._drain_s = DRAIN_S
        self._drained_by = math.inf  # on the loop's clock
        self._patience: asyncio.Timeout | None = None
        self._is_over = False

    async def run(self) -> None:
        """Serve until the session was left in good order; raise the MeshError that ended it otherwise."""
        error = await first_error(self._serve())
        # With nothing left to lose it does not matter how streams end.
        if error is not None and not self._is_over:
            raise error

    def leave(self, why: str) -> None:
        """Take no more work, finish what runs within DRAIN_S, and say goodbye."""
        self._why = why
        self._drain_s = DRAIN_S
        self._lose_patience(0.0 if self._may_wait else DRAIN_S)
        self._told.set()

    def move(self, why: str, left_s: float) -> None:
        """Leave at the first moment without work; after IDLE_WAIT_S take no more, and finish what runs.

        What is not done within another MOVE_DRAIN_S, or when *left_s* seconds are over, is broken off.
        """
        if not self._told.is_set():
            self._why = why
            self._may_wait = True
            self._drain_s = MOVE_DRAIN_S
            self._drained_by = asyncio.get_running_loop().time() + left_s
            self._told.set()

    def hurry(self) -> None:
        """Break off what runs as soon as the session is left."""
        self._drain_s = 0.0
        self._lose_patience(0.0)

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            group.create_task(self._leave_when_told())
            for slot in self._slots:
                group.create_task(slot.run())

    async def _beat(self) -> None:
        await self._heartbeat.run()
        # Only now: a slot that ends before the goodbye looks like a spoke that was lost.
        for slot in self._slots:
            slot.close()

    async def _leave_when_told(self) -> None:
        await self._told.wait()
        if self._may_wait:
            await self._within(IDLE_WAIT_S, self._machine.idle.wait())
            self._may_wait = False
        self._standing.draining = True
        self._heartbeat.hurry()
        for slot in self._slots:
            slot.withdraw()
        if not await self._within(self._drain_s, self._all_withdrawn()):
            for slot in self._slots:
                slot.abandon(Draining("the spoke had to leave before the answer was complete; ask again"))
        # Aborting a stream that has ended by then does nothing.
        asyncio.get_running_loop().call_later(CLOSE_S, self._abort)
        await self._all_withdrawn()
        self._is_over = True
        self._heartbeat.leave(self._why)

    async def _all_withdrawn(self) -> None:
        for slot in self._slots:
            await slot.withdrawn.wait()

    async def _within(self, limit_s: float, wait: Coroutine[None, None, object]) -> bool:
        """Whether *wait* came to its end before *limit_s* was over or somebody lost patience."""
        try:
            by = min(asyncio.get_running_loop().time() + limit_s, self._drained_by)
            async with asyncio.timeout_at(by) as self._patience:
                await wait
        except TimeoutError:
            return False
        finally:
            self._patience = None
        return True

    def _lose_patience(self, in_s: float) -> None:
        """Let the wait under way last *in_s* seconds more at most."""
        if self._patience is not None and not self._patience.expired():
            by = asyncio.get_running_loop().time() + in_s
            self._patience.reschedule(min(by, self._patience.when() or by))

    def _abort(self) -> None:
        late = Unreachable(f"the hub did not let the spoke go within {CLOSE_S:g} s")
        self._heartbeat.abort(late)
        for slot in self._slots:
            slot.abort(late)
