"""Following a batch until it has ended, and writing what comes."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, Protocol

from hubspoke.batch.jobs import subtask_of
from hubspoke.batch.progress import Chunk, Counted, ended_of
from hubspoke.errors import MeshError
from hubspoke.types import DelegationState, StateChanged

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from hubspoke.batch.jobs import Job
    from hubspoke.batch.lines import Line
    from hubspoke.batch.progress import Ended, Tally
    from hubspoke.batch.results import Results
    from hubspoke.delegate import Delegations
    from hubspoke.types import DelegationEvent, DelegationId, DelegationInfo

WATCHED_MAX: Final = 4
"""Delegations that are watched at a time. They share their places in the order of the file, so these are what runs."""


class Teller(Protocol):
    """Who tells how a batch comes along."""

    def failed(self, ended: Ended) -> None:
        """Tell of a line that could not be done."""

    def parked(self, delegation: DelegationId) -> None:
        """Tell that some of it waits for a person."""

    def came_along(self, tally: Tally) -> None:
        """Tell how far it has come."""


class Follower:
    """Follows one batch."""

    def __init__(
        self,
        delegations: Delegations,
        job: Job,
        chunks: Sequence[Sequence[Line]],
        results: Results,
        teller: Teller,
    ) -> None:
        self._delegations = delegations
        self._job = job
        self._asked = chunks
        self._results = results
        self._teller = teller
        self._counted = Counted(job.lines)
        self._chunks: list[Chunk] = []
        self._places = asyncio.Semaphore(WATCHED_MAX)

    async def follow(self) -> Tally:
        """Write results until all lines have ended, and say how it went. Being cancelled ends no work."""
        try:
            async with asyncio.TaskGroup() as group:
                for number, info in sorted(self._job.delegations.items()):
                    group.create_task(self._follow(info, self._asked[number - 1]))
        except* MeshError as errors:
            raise _first(errors) from None
        return self._tally()

    async def _follow(self, info: DelegationInfo, lines: Sequence[Line]) -> None:
        async with self._places:
            chunk = Chunk(info.id, {subtask_of(line): line.id for line in lines})
            self._chunks.append(chunk)
            async with aclosing(self._delegations.watch(info.id)) as events:
                async for event in events:
                    self._take(info, chunk, event)
            if chunk.long:
                whole = await self._delegations.get(info.id)
                long = [one for one in ended_of(whole) if one.id in chunk.long]
                self._end(long, whole.ended_at or whole.accepted_at)
            self._chunks.remove(chunk)
        self._teller.came_along(self._tally())

    def _take(self, info: DelegationInfo, chunk: Chunk, event: DelegationEvent) -> None:
        self._end([one for one in chunk.after(event) if one.id not in chunk.long], event.at)
        if isinstance(event.happening, StateChanged) and event.happening.state is DelegationState.PARKED:
            self._teller.parked(info.id)
        if event.seq:
            self._teller.came_along(self._tally())

    def _end(self, ended: Sequence[Ended], at: datetime) -> None:
        # Not in a thread: nothing else waits for this loop, and what is written is never half of it.
        self._results.add(ended)
        self._counted.add(ended, at)
        for one in ended:
            if one.problem is not None:
                self._teller.failed(one)

    def _tally(self) -> Tally:
        return self._counted.tally(sum(len(chunk.running) for chunk in self._chunks))


def _first(errors: ExceptionGroup[MeshError]) -> MeshError:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error
