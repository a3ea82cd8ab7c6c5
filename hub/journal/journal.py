"""The port to what is kept of delegations. Whoever runs them does not see what keeps them."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import sqlalchemy as sa

from hub.journal import accepting, rows
from hub.journal import tables as t
from hub.journal.watching import Watchers
from hubspoke.errors import WrongState
from hubspoke.types import DelegationEvent, DelegationId, DelegationState, StateChanged

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Collection

    from hub.journal.accepting import New
    from hub.journal.rows import Kept, Query, Resolution
    from hub.store.database import Database
    from hubspoke.clock import Clock
    from hubspoke.types import DelegationInfo, Happening, Progress, SubtaskId

log = logging.getLogger(__name__)

RETENTION_S: Final = 30 * 86_400.0
"""How long what has ended is kept."""

PAGE: Final = 256
"""Events that are read at a time."""

PURGED_AT_A_TIME: Final = 100


class Step(Protocol):
    """A place for one step, drawn in the order of the plan."""

    async def run(self, work: Callable[[], Awaitable[str]]) -> str:
        """Do *work* and keep what it gives; give what was kept if it was done before."""
        ...


class Steps(Protocol):
    """The steps of one delegation. They have to be reserved in the same order whenever it runs."""

    def reserve(self, name: str) -> Step:
        """Draw the next place."""
        ...


class Journal:
    """Everything that is kept. *executor* names whose work it is that is accepted here."""

    def __init__(self, database: Database, executor: str, clock: Clock) -> None:
        self.executor = executor
        self._database = database
        self._clock = clock
        self._watchers = Watchers()
        self._resolved = asyncio.Event()

    async def accept(self, new: New) -> tuple[DelegationInfo, bool]:
        """Keep a delegation, and say whether it had been there before; once this returns, it is there."""
        return await self._database.run(lambda connection: accepting.accept(connection, new))

    async def get(self, delegation: DelegationId) -> DelegationInfo:
        """Say how a delegation stands, with subtasks, their outputs and the result."""
        return await self._database.run(lambda connection: rows.whole(connection, delegation))

    async def info(self, delegation: DelegationId) -> DelegationInfo:
        """Say how a delegation stands, without subtasks and result."""
        return await self._database.run(lambda connection: rows.info(connection, delegation))

    async def list(self, query: Query) -> tuple[DelegationInfo, ...]:
        """Give what *query* wants, the newest first."""
        return await self._database.run(lambda connection: rows.listed(connection, query))

    async def cancel(self, delegation: DelegationId) -> None:
        """End a delegation, unless it has ended."""
        try:
            await self._write(delegation, "cancelled", StateChanged(DelegationState.CANCELLED), None)
        except rows.Over:
            await self.info(delegation)  # or there is none

    async def events(self, delegation: DelegationId, from_seq: int) -> AsyncGenerator[DelegationEvent]:
        """Give what happened from a number on, then what happens, to the end, or until the hub stops.

        Who is slow delays nobody.
        """
        next_seq = max(from_seq, 1)
        with self._watchers.watching(delegation) as watcher:
            while not self._watchers.are_gone:
                watcher.news.clear()
                page = await self._page(delegation, next_seq)
                for event in page:
                    next_seq = event.seq + 1
                    yield event
                for progress in watcher.take_progress():
                    yield DelegationEvent(0, self._clock.now(), progress)
                if len(page) == PAGE:
                    continue
                info = await self.info(delegation)
                if info.has_ended and info.last_seq < next_seq:
                    return
                if info.last_seq < next_seq:
                    await watcher.news.wait()

    async def resume_parked(
        self, delegation: DelegationId, subtask: SubtaskId | None, resolution: Resolution
    ) -> None:
        """Keep what becomes of what is parked; raise WrongState when nothing is."""
        await self._database.run(partial(_resolve, delegation, subtask, resolution))
        # A new one for whoever waits from now on: one that is cleared could be missed.
        self._resolved.set()
        self._resolved = asyncio.Event()

    async def unfinished(self) -> tuple[DelegationId, ...]:
        """List what this hub has not ended, the oldest first."""
        return await self._database.run(partial(_unfinished, self.executor))

    async def adopt_dead(self) -> tuple[DelegationId, ...]:
        """Take over what other hubs have not ended, and say what that is. For the one that has the lead."""
        return await self._database.run(partial(_adopt, self.executor))

    async def purge(self) -> tuple[DelegationId, ...]:
        """Forget what ended long ago, some at a time, and say what."""
        before = self._clock.now().timestamp() - RETENTION_S
        return await self._database.run(partial(_purge, before))

    async def delete(self, delegation: DelegationId) -> None:
        """Forget a delegation; raise WrongState unless it has ended."""
        info = await self.info(delegation)
        if not info.has_ended:
            raise WrongState(f"{delegation} has not ended; cancel it first")
        await self._database.run(lambda connection: rows.remove(connection, [delegation]))
        self._watchers.tell(delegation)

    async def begin(self, delegation: DelegationId) -> Kept:
        """Note that a delegation is begun here, and give it; raise Taken for one that is another hub's by now."""
        return await self._database.run(partial(_begin, self.executor, delegation))

    async def prove(self, delegation: DelegationId) -> None:
        """Note that something has come of it since it was begun, or that it is not its fault when nothing has.

        Of what is another hub's by now, nothing: that one counts by itself.
        """
        update = sa.update(t.delegations).filter_by(id=delegation, executor=self.executor).values(starts=0)
        await self._database.run(lambda connection: connection.execute(update))

    async def append(self, delegation: DelegationId, key: str, happening: Happening) -> bool:
        """Write what happened, once for each *key*, and say whether it is news.

        Raise Over when the delegation has ended, Taken when it is another's.
        """
        return await self._write(delegation, key, happening, self.executor)

    def tell_progress(self, delegation: DelegationId, progress: Progress) -> None:
        """Let whoever watches know that tokens are being written; nothing of it is kept."""
        self._watchers.tell_progress(delegation, progress)

    def let_watchers_go(self) -> None:
        """End all `events`."""
        self._watchers.let_go()

    async def keep_text(self, delegation: DelegationId, text: str) -> str:
        """Keep a text that is too long for a step, and give its digest."""
        return await self._database.run(lambda connection: rows.keep_text(connection, delegation, text))

    async def text(self, delegation: DelegationId, digest: str) -> str:
        """Give a text that was kept."""
        return await self._database.run(lambda connection: rows.text(connection, delegation, digest))

    async def resolution(
        self, delegation: DelegationId, subtask: SubtaskId | None, number: int
    ) -> Resolution:
        """Wait until somebody has said what becomes of what was parked for the time *number*."""
        while True:
            news = self._resolved
            found = await self._database.run(
                lambda connection: rows.resolution(connection, delegation, subtask, number)
            )
            if found is not None:
                return found
            await news.wait()

    async def parks(self, delegation: DelegationId) -> tuple[int, bool]:
        """Say how often the whole of a delegation was parked, and whether the last time is not resolved yet."""
        return await self._database.run(lambda connection: rows.parks(connection, delegation))

    async def unended(self, delegations: Collection[DelegationId]) -> frozenset[DelegationId]:
        """Say which of *delegations* are there and have not ended."""
        return await self._database.run(partial(_unended, delegations))

    async def close(self) -> None:
        """Let go of the database."""
        await self._database.close()

    async def _write(
        self, delegation: DelegationId, key: str, happening: Happening, executor: str | None
    ) -> bool:
        entry = rows.Entry(delegation, key, happening, self._clock.now().timestamp(), executor)
        is_news = await self._database.run(lambda connection: rows.append(connection, entry))
        if is_news:
            self._watchers.tell(delegation)
        return is_news

    async def _page(self, delegation: DelegationId, from_seq: int) -> tuple[DelegationEvent, ...]:
        def read(connection: sa.Connection) -> tuple[DelegationEvent, ...]:
            found = rows.events(connection, delegation, from_seq, PAGE)
            return tuple(_with_result(connection, delegation, event) for event in found)

        return await self._database.run(read)


def _with_result(
    connection: sa.Connection, delegation: DelegationId, event: DelegationEvent
) -> DelegationEvent:
    happening = event.happening
    if isinstance(happening, StateChanged) and happening.state in _WITH_RESULT:
        whole = StateChanged(
            happening.state, rows.result(connection, delegation), happening.problem, happening.spent
        )
        return DelegationEvent(event.seq, event.at, whole)
    return event


_WITH_RESULT: Final = frozenset({DelegationState.SUCCEEDED, DelegationState.PARTIAL})


def _resolve(
    delegation: DelegationId,
    subtask: SubtaskId | None,
    resolution: Resolution,
    connection: sa.Connection,
) -> None:
    rows.resolve(connection, delegation, subtask, resolution)


def _begin(executor: str, delegation: DelegationId, connection: sa.Connection) -> Kept:
    table = t.delegations
    ours = sa.update(table).filter_by(id=delegation, executor=executor)
    begun = ours.values(starts=table.c.starts + 1, epoch=table.c.epoch + 1)
    if connection.execute(begun).rowcount == 0:
        raise rows.Taken
    return rows.kept(connection, delegation)


def _unfinished(executor: str, connection: sa.Connection) -> tuple[DelegationId, ...]:
    table = t.delegations.c
    query = sa.select(table.id).where(table.executor == executor, table.ended_at.is_(None))
    return tuple(
        DelegationId(each) for each in connection.execute(query.order_by(table.accepted_at)).scalars()
    )


def _unended(delegations: Collection[DelegationId], connection: sa.Connection) -> frozenset[DelegationId]:
    table = t.delegations.c
    query = sa.select(table.id).where(table.id.in_(delegations), table.ended_at.is_(None))
    return frozenset(DelegationId(each) for each in connection.execute(query).scalars())


def _adopt(heir: str, connection: sa.Connection) -> tuple[DelegationId, ...]:
    table = t.delegations.c
    update = sa.update(t.delegations).where(table.executor != heir, table.ended_at.is_(None))
    adopted = connection.execute(update.values(executor=heir).returning(table.id)).scalars()
    return tuple(DelegationId(each) for each in adopted)


def _purge(before: float, connection: sa.Connection) -> tuple[DelegationId, ...]:
    table = t.delegations.c
    query = (
        sa.select(table.id).where(table.ended_at < before).order_by(table.ended_at).limit(PURGED_AT_A_TIME)
    )
    gone = tuple(DelegationId(each) for each in connection.execute(query).scalars())
    if gone:
        rows.remove(connection, gone)
    return gone
