"""Which of the hubs that share a database serves the mesh. The others stand by, with their ports shut.

The lead of a hub that dies is free at once. A hub that hangs, or is cut off from the database, keeps its locks for a while:
what it does not do any more is to beat, so whoever stands by ends its connection, and it lets go by itself.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

import sqlalchemy as sa

from hub.store.hubs import HubRow, NameTaken, Seat
from hub.store.server import CLOSE_S, refusal, why
from hubspoke.errors import InvalidRequest, StoreFailed
from pki.errors import KeysOfBefore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Never

    from hubspoke.clock import Clock

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_S: Final = 0.25
"""How often a hub that stands by tries to get the lead."""

BEAT_S: Final = 1.0
"""How often a hub says that it is there."""

LEFT_S: Final = 7.0
"""A hub that could not say so for so long takes the lead for lost, if there are others: sooner than `SILENT_S`."""

SURE_S: Final = 2.0
"""How long a hub that stands by makes sure that the one with the lead is silent: a new one has not said anything yet."""

AHEAD_S: Final = 3.0
"""What the hub that had the lead has ahead of the others when the database was away for all of them."""

NAME_S: Final = 15.0
"""How long a hub waits for its own name: the server takes a while to see that a machine is gone."""


class LeadLost(Exception):
    """Another hub has the lead, or may have: this one lets go of everything, and stands by."""


class Lead:
    """A hub's place among the others; *generation* is that of its authorities.

    `join` first, then `wait`, then `keep` for as long as it lasts, and `close` at the end.
    """

    def __init__(
        self, url: sa.URL, name: str, generation: int, clock: Clock, *, name_s: float = NAME_S
    ) -> None:
        self._seat = Seat(url, name)
        self._own = HubRow(name, generation=generation)
        self._clock = clock
        self._name_s = name_s
        # A thread of its own: whoever waits for the database elsewhere must not keep the hub from beating.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lead")
        self._beaten_at = 0.0
        self._is_away = False  # the database, as far as was said
        self._others: tuple[HubRow, ...] = ()
        self.is_lost = False
        """Whether it had the lead and another hub has it by now, or may have."""

    @property
    def others(self) -> tuple[HubRow, ...]:
        """The other hubs, as they were a beat ago."""
        return self._others

    async def join(self) -> None:
        """Take the name; raise InvalidRequest when another hub has it, StoreFailed for a server that is away."""
        until = self._clock.monotonic() + self._name_s
        while True:
            try:
                return await self._in_thread(self._seat.take)
            except sa.exc.SQLAlchemyError as error:
                log.warning("database not reached", extra={"why": why(error)})
                raise StoreFailed(refusal(error)) from error
            except NameTaken:
                if self._clock.monotonic() >= until:
                    raise InvalidRequest(
                        f"another hub works as {self._own.name!r} in the same database; make keys for this one with "
                        "`hubspoke pki add-hub`"
                    ) from None
            await asyncio.sleep(LOOK_S)

    async def wait(self) -> None:
        """Stand by until this hub has the lead; raise KeysOfBefore when its authorities are not the mesh's any more."""
        not_before, has_told, silence = 0.0, False, Silence()
        # Whoever had it and lost it may be the last one to know, and hold a connection that was ended.
        await self._in_thread(self._seat.give_up_lead)
        self.is_lost = False
        while True:
            now = self._clock.monotonic()
            try:
                if now >= not_before and await self._in_thread(self._seat.lead):
                    await self._beat()
                    break
                if now - self._beaten_at >= BEAT_S:
                    await self._beat()
                if silence.ends_at(now, self._others):
                    log.warning("lead taken away", extra={"from": leader(self._others)})
                    await self._in_thread(self._seat.end_leader)
            except (sa.exc.SQLAlchemyError, NameTaken) as error:
                not_before = now + AHEAD_S
                silence = Silence()  # nobody could be heard meanwhile
                await self._lost(error)
            if not has_told and self._others:
                log.info("standing by", extra={"hub": self._own.name, "leads": leader(self._others)})
                has_told = True
            await asyncio.sleep(LOOK_S)
        log.info("leading", extra={"hub": self._own.name})

    async def keep(self) -> Never:
        """Say that this hub is there for as long as it has the lead; raise LeadLost when it has not, or cannot know."""
        try:
            await self._keep()
        except LeadLost:
            self.is_lost = True
            raise

    async def announce(self, mesh: Sequence[str], enrol: Sequence[str]) -> None:
        """Tell where this hub's ports are with every beat."""
        self._own = replace(self._own, mesh=tuple(mesh), enrol=tuple(enrol))
        with suppress(sa.exc.SQLAlchemyError, NameTaken):  # with the next beat, then
            await self._beat()

    def took_over(self, generation: int) -> None:
        """Tell of other authorities with every beat: whoever has older ones cannot serve."""
        self._own = replace(self._own, generation=generation)

    async def close(self) -> None:
        """Let go of the lead and of the name."""
        late = asyncio.get_running_loop().call_later(CLOSE_S, self._seat.hang_up)
        try:
            await self._in_thread(self._seat.leave)
        finally:
            late.cancel()
        self._thread.shutdown()

    @property
    def _left_s(self) -> float | None:
        """How long the lead is this hub's still without a beat; for ever when there is nobody who could take it."""
        # One that is down counts: it may be started while this one cannot see it.
        if not any(other.may_come for other in self._others):
            return None
        return max(0.0, LEFT_S - (self._clock.monotonic() - self._beaten_at))

    async def _keep(self) -> Never:
        is_again = False
        while True:
            beating = asyncio.create_task(self._keep_beating())
            try:
                # A server that is cut off is noticed late; the lead may be lost before.
                await asyncio.wait({beating}, timeout=self._left_s)
                if not beating.done():
                    self._seat.hang_up()  # or its thread would wait for as long as the server's machine lives
                    raise LeadLost("the database cannot be reached, and another hub may have taken over")
                await beating
            except (sa.exc.SQLAlchemyError, NameTaken) as error:
                await self._lost(error)
                # At once, the first time: the lead is free until whoever is faster takes it.
                await asyncio.sleep(LOOK_S if is_again else 0.0)
                is_again = True
            else:
                is_again = False
                await asyncio.sleep(BEAT_S)
            finally:
                beating.cancel()  # its thread goes on; what comes next there drops what it has taken

    async def _keep_beating(self) -> None:
        if not await self._in_thread(self._seat.lead):
            raise LeadLost("another hub has taken over")
        await self._beat()

    async def _beat(self) -> None:
        # The others count from when the server heard it, not from its answer.
        asked_at = self._clock.monotonic()
        self._others = await self._in_thread(lambda: self._seat.beat(self._own))
        self._beaten_at = asked_at
        if self._is_away:
            self._is_away = False
            log.info("database reached again", extra={"hub": self._own.name})
        newest = max((other.generation for other in self._others), default=0)
        if newest > self._own.generation:
            raise KeysOfBefore("the authorities of the mesh were exchanged since this hub got its keys")

    async def _lost(self, error: Exception) -> None:
        if not self._is_away:
            self._is_away = True
            log.warning("database not reached", extra={"why": why(error)})
        await self._in_thread(self._seat.drop)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


class Alone:
    """The place of a hub that shares nothing: it has the lead for ever."""

    others: tuple[HubRow, ...] = ()
    is_lost = False

    async def announce(self, mesh: Sequence[str], enrol: Sequence[str]) -> None:
        """Tell nobody."""

    def took_over(self, generation: int) -> None:
        """Tell nobody."""


class Silence:
    """Finds out that the hub that has the lead has fallen silent, by this hub's own clock and from when it began to listen."""

    def __init__(self) -> None:
        self._since: float | None = None

    def ends_at(self, now: float, others: Sequence[HubRow]) -> bool:
        """Hear at *now* who is there, and say whether it has gone on for `SURE_S` that nobody is there who has the lead; then it begins anew."""
        if self._since is None or any(other.leads and other.is_there for other in others):
            self._since = now
        if now - self._since < SURE_S:
            return False
        self._since = None
        return True


def leader(others: Sequence[HubRow]) -> str:
    """Name the hub that has the lead, as far as it is known."""
    leaders = sorted((other for other in others if other.leads), key=lambda other: other.silent_s)
    return leaders[0].name if leaders else ""
