"""Everything that can be done with delegations, and the loop that begins what is new and what others have left behind."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from contextlib import aclosing, suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from hub.core import catalogue
from hub.delegations.asking import LOOKED_S, NEWCOMERS_S
from hub.delegations.earlier import is_resolved
from hub.delegations.run import run
from hub.journal.accepting import New
from hub.journal.rows import Query, Resolution
from hubspoke.errors import (
    InvalidRequest,
    MeshError,
    NoOrchestrator,
    NoSpoke,
    StoreFailed,
    UnknownDelegation,
    UnknownModel,
)
from hubspoke.types import DelegationId, Goal, Merge, Review
from hubspoke.wire import delegations as wire

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping

    from hub.core.delegation.accepts import Accepts
    from hub.delegations.desk import Desk
    from hub.journal.engine import Engine
    from hub.journal.opening import Opened
    from hubspoke.types import DelegationEvent, DelegationInfo, DelegationState, SubtaskId, Verb, Work

log = logging.getLogger(__name__)

LIFETIME: Final = timedelta(hours=24)
"""How long a delegation without a deadline may take."""

LIFETIME_MAX: Final = timedelta(days=90)

LOOK_S: Final = 0.5
"""How soon what the journal would not take is tried again."""

LATE_S: Final = 5.0
"""How often a hub that shares its journal looks for work that nobody does."""

LEFT_S: Final = 60.0
"""How long a delegation may wait for the engine, which is to begin it by itself, until it is taken for forgotten."""

PURGE_S: Final = 600.0

ID_CHARS: Final = 20


class Delegations:
    """What is handed over to this hub. Nothing of the engine is loaded before there is something to run."""

    def __init__(self, desk: Desk, opened: Opened) -> None:
        self._desk = desk
        self._journal = opened.journal
        self._opened = opened
        self._engine: Engine | None = None
        self._new: list[DelegationId] = []
        self._earlier: set[DelegationId] = set()
        self._news = desk.settling.news
        self._purged_at = 0.0
        self._look_at = 0.0
        # What is not done and nobody does, and since when.
        self._left: dict[DelegationId, float] = {}
        self._begun_at = desk.clock.monotonic()

    @property
    def accepts(self) -> Accepts:
        """How often what models did was accepted."""
        return self._desk.accepts

    async def delegate(self, work: Work, owner: str) -> tuple[DelegationInfo, bool]:
        """Take *work* from *owner*, and say whether it was taken before; once this returns it will be done."""
        now = self._desk.clock.now()
        deadline = work.limits.deadline or now + LIFETIME
        if deadline > now + LIFETIME_MAX:
            raise InvalidRequest(f"limits.deadline is more than {LIFETIME_MAX.days} days away")
        new = New(
            id=id_of(owner, work.request_id),
            owner=owner,
            work=work,
            digest=wire.digest_of(work),
            accepted_at=now.timestamp(),
            deadline=deadline.timestamp(),
            executor=self._journal.executor,
        )
        try:
            self._check(new)
        except MeshError:
            with suppress(UnknownDelegation):
                await self._journal.info(new.id)
                return await self._journal.accept(new)  # it is there: nothing else can be in its way any more
            await self._checked(new)
        info, existed = await self._journal.accept(new)
        if not existed:
            self._new.append(new.id)
            self._news.set()
        return info, existed

    async def watch(
        self, delegation: DelegationId, owner: str | None, from_seq: int
    ) -> AsyncGenerator[DelegationEvent]:
        """Give what happened from a number on, then what happens, to the end."""
        await self._owned(delegation, owner)
        events = self._journal.events(delegation, from_seq)
        async with aclosing(events):
            async for event in events:
                yield event

    async def get(self, delegation: DelegationId, owner: str | None) -> DelegationInfo:
        """Say how a delegation stands; *owner* is `None` for who may see everybody's."""
        await self._owned(delegation, owner)
        return await self._journal.get(delegation)

    async def listed(
        self,
        owner: str | None,
        states: Iterable[DelegationState],
        labels: Mapping[str, str],
        limit: int,
        after: tuple[float, str] | None,
    ) -> tuple[DelegationInfo, ...]:
        """Give delegations, the newest first."""
        return await self._journal.list(Query(owner, frozenset(states), labels, limit, after))

    async def cancel(self, delegation: DelegationId, owner: str | None) -> DelegationInfo:
        """End a delegation, whatever it is doing."""
        await self._owned(delegation, owner)
        await self._journal.cancel(delegation)
        if self._engine is not None:
            self._engine.stop(delegation)
        # A run says so itself, but there may be none yet: then spokes have brought what was wanted a moment ago.
        self._desk.settling.is_over(delegation)
        return await self._journal.get(delegation)

    async def resolve(
        self,
        delegation: DelegationId,
        owner: str | None,
        subtask: SubtaskId | None,
        verb: Verb,
        output: str,
    ) -> DelegationInfo:
        """Say what becomes of what is parked."""
        await self._owned(delegation, owner)
        await self._journal.resume_parked(delegation, subtask, Resolution(verb, output))
        if delegation in self._earlier:
            self._renew(delegation)  # of the rest, whatever runs it hears
        return await self._journal.get(delegation)

    async def delete(self, delegation: DelegationId, owner: str | None) -> None:
        """Forget a delegation that has ended."""
        await self._owned(delegation, owner)
        await self._journal.delete(delegation)
        if self._engine is not None:
            await self._engine.forget([delegation])

    async def keep_going(self) -> None:
        """Begin what is new, what was left when this hub went down, and what another one has left. Runs until cancelled."""
        self._news.set()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._look_s):
                    await self._news.wait()
            self._news.clear()
            try:
                await self._look_around()
            except StoreFailed:
                await asyncio.sleep(LOOK_S)
                self._news.set()

    def let_watchers_go(self) -> None:
        """End what is watched: the hub stops, and whoever watches goes on when it is back."""
        self._journal.let_watchers_go()

    async def close(self) -> None:
        """Let go of everything; what runs goes on when the hub is back."""
        try:
            if self._engine is not None:
                with suppress(StoreFailed):
                    for delegation in self._engine.running:
                        await self._journal.prove(delegation)  # it is not to blame for this end
                await self._engine.close()
        finally:
            await self._journal.close()

    async def _look_around(self) -> None:
        await self._look_for_left()
        if self._new:
            new, self._new = self._new, []
            try:
                await self._begin(new)
            except StoreFailed:
                self._new += new
                raise
        await self._desk.settling.look()
        await self._purge()

    async def _look_for_left(self) -> None:
        """Find what nobody works on: all that is unfinished when this hub begins, and what was forgotten, later on.

        A hub that does not know yet that it has lost the lead takes work, and takes up what was given back. And the engine
        only logs what it could not begin again, as while its database was away.
        """
        now = self._desk.clock.monotonic()
        if now < self._look_at:
            return
        if self._opened.is_shared and (adopted := await self._journal.adopt_dead()):
            log.info("delegations adopted", extra={"count": len(adopted)})
        running = () if self._engine is None else self._engine.running
        known = {*running, *self._new}
        left = [each for each in await self._journal.unfinished() if each not in known]
        self._left = {each: self._left.get(each, now) for each in left}
        if self._engine is not None:
            self._engine.doubt(each for each, since in self._left.items() if now - since >= LEFT_S)
        self._new += left
        self._look_at = now + self._look_s

    @property
    def _look_s(self) -> float:
        return LATE_S if self._opened.is_shared else LEFT_S

    async def _begin(self, delegations: list[DelegationId]) -> None:
        if self._engine is None:
            # Only a hub that is delegated to has to wait for it.
            kind = await asyncio.to_thread(load_engine)
            engine = kind(self._opened.steps, self._journal.executor, partial(run, self._desk))
            await engine.launch()
            self._engine = engine
            self._left.clear()  # it has its time from now on
        for each in await self._engine.begin(delegations):
            self._earlier.add(each)
            if await is_resolved(self._journal, each):
                await self._engine.forget([each])
                self._renew(each)

    def _renew(self, delegation: DelegationId) -> None:
        self._earlier.discard(delegation)
        self._new.append(delegation)
        self._news.set()

    async def _purge(self) -> None:
        now = self._desk.clock.monotonic()
        if now - self._purged_at < PURGE_S:
            return
        self._purged_at = now
        while gone := await self._journal.purge():
            log.info("delegations purged", extra={"count": len(gone)})
            if self._engine is not None:
                await self._engine.forget(gone)

    async def _owned(self, delegation: DelegationId, owner: str | None) -> None:
        info = await self._journal.info(delegation)
        if owner is not None and info.owner != owner:
            raise UnknownDelegation(f"there is no delegation {delegation[:64]}")

    async def _checked(self, new: New) -> None:
        """Do `_check`; of a hub that has just come up, wait for the spokes that have not found back to it yet."""
        while True:
            try:
                self._check(new)
            except (UnknownModel, NoOrchestrator):
                if self._desk.clock.monotonic() - self._begun_at >= NEWCOMERS_S:
                    raise
            else:
                return
            await asyncio.sleep(LOOKED_S)

    def _check(self, new: New) -> None:
        """Raise what would be in the way later: a model that nobody has, or no orchestrator where one is needed."""
        if new.deadline <= new.accepted_at:
            raise InvalidRequest("limits.deadline has passed; is the clock right?")
        work, task = new.work, new.work.task
        needs_orchestrator = (
            isinstance(task, Goal)
            or work.review is Review.ALWAYS
            or task.merge is Merge.MODEL
            or any(not subtask.model for subtask in task.subtasks)
        )
        if needs_orchestrator:
            self._desk.orchestrator()
        if not isinstance(task, Goal):
            for model in {subtask.model for subtask in task.subtasks if subtask.model}:
                with suppress(NoSpoke):  # it may come back
                    catalogue.resolve(self._desk.sessions.registry, model)


def id_of(owner: str, request_id: str) -> DelegationId:
    """Give the id of what *owner* hands over under *request_id*: the same again, whichever hub is asked."""
    digest = hashlib.sha256(f"{owner}\0{request_id}".encode()).digest()
    return DelegationId("d-" + base64.b32encode(digest).decode().lower()[:ID_CHARS])


def load_engine() -> type[Engine]:
    """Import what runs delegations, which takes half a second."""
    from hub.journal.engine import Engine  # noqa: PLC0415  # see above

    return Engine
