"""The link to the mesh: one session after the other, for as long as the spoke lives."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from hubspoke.backoff import Backoff
from hubspoke.errors import MeshError, Unreachable
from pki.errors import PkiError
from spoke.core.lifecycle import Event, Phase, after
from spoke.link.boundary import first_error
from spoke.link.duties import Duties
from spoke.link.session import Spoke, register

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import grpc

    from hubspoke.clock import Clock
    from spoke.link.heartbeat import Heard
    from spoke.link.machine import Machine
    from spoke.link.session import Session
    from spoke.link.tasks.running import Tasks

RETRY: Final = Backoff(base_s=0.5, cap_s=30.0)
STABLE_S: Final = 60.0
"""A session that lasted this long starts the back-off anew when it is lost."""
CONNECT_TIMEOUT_S: Final = 30.0
"""Longest try at connecting and registering."""

Failure: TypeAlias = MeshError | PkiError | OSError
"""What ends a session: the mesh, the identity, or a disk that it cannot be read from now."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Line:
    """A connection to a hub, and the session on it."""

    channel: grpc.aio.Channel
    session: Session


class Link:
    """Keeps this spoke in the mesh. *connect* opens a channel with the identity that is in use at that moment."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[grpc.aio.Channel]],
        machine: Machine,
        tasks: Tasks,
        *,
        slots: int,
        version: str,
        clock: Clock,
        chance: Callable[[], float],
        heard: Heard,
    ) -> None:
        self.phase = Phase.CONNECTING
        self._connect = connect
        self._spoke = Spoke(machine, tasks, slots, version, clock, heard)
        self._clock = clock
        self._chance = chance
        self._line: Line | None = None  # the newest
        self._is_to_move = asyncio.Event()
        self._is_settled = asyncio.Event()  # neither connecting nor moving
        self._why = ""
        self._patience: asyncio.Timeout | None = None

    async def run(self) -> None:
        """Hold a session with the hub, and find back to it, until `leave`."""
        failures = 0
        while not self._is_gone:
            began_at = self._clock.monotonic()
            failure = await self._one_stay()
            if failure is None or self._clock.monotonic() - began_at >= STABLE_S:
                failures = 0
            if failure is not None and not self._is_gone:
                failures += 1
                await self._back_off(failure, failures)

    async def channel(self) -> grpc.aio.Channel:
        """Give the newest connection to the hub; of a spoke that connects or moves, the one that comes of it.

        Raise Unreachable when that takes longer than one try at connecting, and for a spoke that is gone.
        """
        # Over the old one, which is about to end, a node would show a certificate that is not its newest. And what a hub says
        # while a spoke connects is to be done when that has come to its end, not after half a minute of back-off.
        with suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._is_settled.wait()
        if self._line is None or not self._is_settled.is_set():
            raise Unreachable("there is no connection to the hub now")
        return self._line.channel

    def leave(self, why: str) -> None:
        """Finish what runs, say goodbye, and let `run` come to its end."""
        self._happen(Event.LEAVE)
        self._why = why
        if self._line is not None:
            self._line.session.leave(why)
        self._stop_waiting()

    def hurry(self) -> None:
        """Do not wait for what runs; for after `leave`."""
        if self._line is not None:
            self._line.session.hurry()

    def move(self) -> None:
        """Go on over a new connection, which shows the new certificate, while the old one finishes what runs on it."""
        self._happen(Event.MOVE)
        if self.phase is Phase.MOVING:
            self._is_to_move.set()

    async def _one_stay(self) -> Failure | None:
        """Go once from dialling to the end of the session, or of the last one of those that went on in each other.

        Give what ended it, or None after a good end.
        """
        duties = Duties(self._spoke.machine, self._clock)
        try:
            line = await self._open(duties)
            if line is not None:
                return await first_error(self._stay(line, duties))
        except (MeshError, PkiError, OSError) as error:
            return error
        finally:
            if self._line is not None:
                self._line = None
                self._happen(Event.ENDED)
        return None

    async def _open(self, duties: Duties) -> Line | None:
        """Connect and register; give None when the spoke is to leave meanwhile."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S) as self._patience:
                line = await self._new_line(duties)
        except TimeoutError:
            if not self._is_gone:
                raise Unreachable(f"no hub took this spoke in within {CONNECT_TIMEOUT_S:g} s") from None
            return None
        finally:
            self._patience = None
        if self._is_gone:
            await line.channel.close()
            return None
        self._welcomed(line)
        return line

    async def _new_line(self, duties: Duties, before: Session | None = None) -> Line:
        async with AsyncExitStack() as opening:
            channel = await self._connect()
            opening.push_async_callback(channel.close)
            session = await register(channel, self._spoke, duties, before)
            opening.pop_all()
        return Line(channel, session)

    async def _stay(self, line: Line, duties: Duties) -> None:
        async with asyncio.TaskGroup() as group:
            is_over = asyncio.Event()
            tasks = [
                group.create_task(duties.run()),
                group.create_task(self._move_when_told(group, duties, is_over)),
                group.create_task(self._serve(line, is_over)),
            ]
            await is_over.wait()
            for task in tasks:
                task.cancel()

    async def _serve(self, line: Line, is_over: asyncio.Event) -> None:
        """Run a session to its end, which is the end of all when no other one goes on with it."""
        try:
            await line.session.run()
        finally:
            await line.channel.close()
        if line is self._line:
            is_over.set()

    async def _move_when_told(self, group: asyncio.TaskGroup, duties: Duties, is_over: asyncio.Event) -> None:
        while True:
            await self._is_to_move.wait()
            self._is_to_move.clear()
            failures = 0
            while self.phase is Phase.MOVING and (line := await self._moved(duties)) is None:
                failures += 1
                await asyncio.sleep(RETRY.delay_s(failures, self._chance))
            if self.phase is not Phase.MOVING or line is None:
                continue
            before, self._line = self._line, line
            self._welcomed(line)
            if before is not None:
                before.session.retire()
            group.create_task(self._serve(line, is_over))

    async def _moved(self, duties: Duties) -> Line | None:
        """Open the next session, which goes on with this one; give None when that has failed."""
        if self._line is None:
            return None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return await self._new_line(duties, self._line.session)
        except (MeshError, PkiError, OSError) as error:  # a timeout is an OSError, too
            log.warning("not moved", extra={"why": str(error)})
            return None

    def _welcomed(self, line: Line) -> None:
        self._line = line
        session = line.session
        self._happen(Event.WELCOMED, hub=session.hub, session=session.number)
        log.info("session", extra={"hub": session.hub, "session": session.number})

    async def _back_off(self, failure: Failure, failures: int) -> None:
        delay_s = RETRY.delay_s(failures, self._chance)
        facts = {"why": str(failure), "failures": failures, "again_in_s": round(delay_s, 1)}
        log.warning("no session", extra=facts)
        with suppress(TimeoutError):
            try:
                async with asyncio.timeout(delay_s) as self._patience:
                    await asyncio.Event().wait()
            finally:
                self._patience = None

    @property
    def _is_gone(self) -> bool:
        return self.phase is Phase.GONE

    def _stop_waiting(self) -> None:
        """Cut a dial or a back-off short."""
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(asyncio.get_running_loop().time())

    def _happen(self, event: Event, **facts: str | int) -> None:
        before, self.phase = self.phase, after(self.phase, event)
        if self.phase in {Phase.CONNECTING, Phase.MOVING}:
            self._is_settled.clear()
        else:
            self._is_settled.set()
        if self.phase is not before:
            log.info(self.phase, extra={"after": before, **facts})
