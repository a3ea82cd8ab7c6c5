"""One session with a hub: Register, then a heartbeat and the slots, which live and die together."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
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
    from hubspoke.errors import MeshError
    from spoke.link.duties import Duties
    from spoke.link.heartbeat import Heard
    from spoke.link.machine import Machine
    from spoke.link.standing import Standing
    from spoke.link.tasks.running import Tasks

REGISTER_TIMEOUT_S: Final = 10.0
DRAIN_S: Final = 30.0
"""How long running answers may take to end once no more is taken; what is left then is broken off."""
CLOSE_S: Final = 5.0
"""How long the hub may take to hear the end of what was broken off, and again to answer the goodbye."""


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Spoke:
    """What every session of this spoke is about."""

    machine: Machine
    tasks: Tasks
    slots: int
    version: str
    clock: Clock
    heard: Heard


async def register(
    channel: grpc.aio.Channel, spoke: Spoke, duties: Duties, before: Session | None = None
) -> Session:
    """Ask the hub to take this spoke in; raise the MeshError with which it does not.

    With *before* the new session goes on with that one, which finishes what it runs.
    """
    told = spoke.machine.inventory
    request = pb.RegisterRequest(
        inventory=inventory_wire.to_wire(told),
        slots=spoke.slots,
        agent_version=spoke.version,
        replaces=0 if before is None else before.number,
    )
    if before is not None:
        before.hand_over()
    try:
        response = await MeshServiceStub(channel).Register(request, timeout=REGISTER_TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        raise error_of(error) from error
    welcome = standing.parse(response)
    beats = Heartbeat(
        Stream(channel, heartbeat.METHOD, pb.HeartbeatResponse.FromString),
        welcome,
        spoke.machine,
        spoke.clock,
        told=told,
        tasks=spoke.tasks,
        duties=duties,
        heard=spoke.heard,
    )
    posts = tuple(
        Work(
            number,
            Stream(channel, work.METHOD, pb.WorkResponse.FromString),
            welcome,
            spoke.machine,
            spoke.tasks,
            before=None if before is None else before.slots[number],
        )
        for number in range(spoke.slots)
    )
    return Session(welcome, beats, posts)


class Session:
    """A hub that has taken this spoke in. `run` it once; end it with `leave`, or have another one go on with it."""

    def __init__(self, welcome: Standing, beats: Heartbeat, slots: tuple[Work, ...]) -> None:
        self.hub = welcome.hub
        self.number = welcome.session
        self.slots = slots
        self._standing = welcome
        self._heartbeat = beats
        self._told = asyncio.Event()
        self._why = ""
        self._drain_s = DRAIN_S
        self._patience: asyncio.Timeout | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._is_retired = False
        self._is_over = False

    async def run(self) -> None:
        """Serve until the session was left in good order, or is retired and has nothing left to do; raise the MeshError that ended it otherwise."""
        error = await first_error(self._serve())
        # With nothing left to lose it does not matter how streams end.
        if error is not None and not (self._is_over or self._is_retired):
            raise error

    def leave(self, why: str) -> None:
        """Take no more work, finish what runs within DRAIN_S, and say goodbye."""
        self._why = why
        self._told.set()

    def hand_over(self) -> None:
        """Let the hub end what is idle: it may have begun to go on in another session before we hear of it."""
        for slot in self.slots:
            slot.hand_over()

    def retire(self) -> None:
        """Finish what runs, and nothing else: another session goes on with this one."""
        self._is_retired = True
        self._heartbeat.retire()
        if self._leaving is not None:
            self._leaving.cancel()

    def hurry(self) -> None:
        """Break off what runs as soon as the session is left."""
        self._drain_s = 0.0
        self._lose_patience(0.0)

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            self._leaving = group.create_task(self._leave_when_told())
            for slot in self.slots:
                group.create_task(self._serve_slot(slot))

    async def _serve_slot(self, slot: Work) -> None:
        error = await first_error(slot.run())
        self._tell_of(error)

    async def _beat(self) -> None:
        error = await first_error(self._heartbeat.run())
        self._tell_of(error)
        if self._is_retired:
            return
        # Only now: a slot that ends before the goodbye looks like a spoke that was lost.
        for slot in self.slots:
            slot.close()

    def _tell_of(self, error: MeshError | None) -> None:
        """End the session with what has ended one of its streams; of one that is retired, each is on its own."""
        if error is None:
            return
        if not self._is_retired:
            raise error
        log.info("stream of an older session ended", extra={"session": self.number, "why": str(error)})

    async def _leave_when_told(self) -> None:
        if self._is_retired:
            return
        await self._told.wait()
        self._standing.draining = True
        self._heartbeat.hurry()
        for slot in self.slots:
            slot.withdraw()
        if not await self._within(self._drain_s, self._all_withdrawn()):
            for slot in self.slots:
                slot.abandon(Draining("the spoke had to leave before the answer was complete; ask again"))
        # Aborting a stream that has ended by then does nothing.
        asyncio.get_running_loop().call_later(CLOSE_S, self._abort)
        await self._all_withdrawn()
        self._is_over = True
        self._heartbeat.leave(self._why)

    async def _all_withdrawn(self) -> None:
        for slot in self.slots:
            await slot.withdrawn.wait()

    async def _within(self, limit_s: float, wait: Coroutine[None, None, object]) -> bool:
        """Whether *wait* came to its end before *limit_s* was over or somebody lost patience."""
        try:
            async with asyncio.timeout(limit_s) as self._patience:
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
        for slot in self.slots:
            slot.abort(late)
