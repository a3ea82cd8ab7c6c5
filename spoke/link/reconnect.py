"""The link to the mesh: one session after the other, for as long as the spoke lives."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias

from hubspoke.backoff import Backoff
from hubspoke.errors import MeshError, Unreachable
from pki.errors import PkiError
from spoke.core.lifecycle import Event, Phase, after
from spoke.link.session import register

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import grpc

    from hubspoke.clock import Clock
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
    ) -> None:
        self.phase = Phase.CONNECTING
        self._connect = connect
        self._machine = machine
        self._tasks = tasks
        self._slots = slots
        self._version = version
        self._clock = clock
        self._chance = chance
        self._channel: grpc.aio.Channel | None = None
        self._session: Session | None = None
        self._patience: asyncio.Timeout | None = None

    async def run(self) -> None:
        """Hold a session with the hub, and find back to it, until `leave`."""
        failures = 0
        while not self._is_gone:
            began_at = self._clock.monotonic()
            failure = await self._one_session()
            if failure is None or self._clock.monotonic() - began_at >= STABLE_S:
                failures = 0
            if failure is not None and not self._is_gone:
                failures += 1
                await self._back_off(failure, failures)

    @property
    def channel(self) -> grpc.aio.Channel:
        """The connection to the hub; raise Unreachable while there is none."""
        if self._channel is None or self._session is None:
            raise Unreachable("there is no connection to the hub now")
        return self._channel

    def leave(self, why: str) -> None:
        """Finish what runs, say goodbye, and let `run` come to its end."""
        self._happen(Event.LEAVE)
        if self._session is not None:
            self._session.leave(why)
        self._stop_waiting()

    def hurry(self) -> None:
        """Do not wait for what runs; for after `leave`."""
        if self._session is not None:
            self._session.hurry()

    def move(self, left_s: float) -> None:
        """Come back on a new connection, which shows the new certificate; the old one is good for *left_s* seconds.

        Work that is done by then is not lost.
        """
        self._happen(Event.MOVE)
        if self._session is not None and self.phase is Phase.MOVING:
            self._session.move("it comes back with a new certificate", left_s)

    async def _one_session(self) -> Failure | None:
        """Go once from dialling to the end of the session; give what ended it, or None after a good end."""
        try:
            await self._open()
            if self._session is not None:
                await self._session.run()
        except (MeshError, PkiError, OSError) as error:
            return error
        finally:
            if self._session is not None:
                self._session = None
                self._happen(Event.ENDED)
            if self._channel is not None:
                await self._channel.close()
                self._channel = None
        return None

    async def _open(self) -> None:
        """Connect and register; return without a session when the spoke is to leave meanwhile."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S) as self._patience:
                self._channel = await self._connect()
                session = await register(
                    self._channel,
                    self._machine,
                    self._tasks,
                    slots=self._slots,
                    version=self._version,
                    clock=self._clock,
                )
        except TimeoutError:
            if not self._is_gone:
                raise Unreachable(f"no hub took this spoke in within {CONNECT_TIMEOUT_S:g} s") from None
        else:
            if not self._is_gone:
                self._session = session
                self._happen(Event.WELCOMED, hub=session.hub, session=session.number)
        finally:
            self._patience = None

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
        if self.phase is not before:
            log.info(self.phase, extra={"after": before, **facts})
