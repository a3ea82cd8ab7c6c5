"""How often what a model did was accepted, by kind of task, over restarts and take-overs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from hub.core.delegation.accepts import TALLIES_MAX, Accepts, Kind, Tally
from hub.store.database import METADATA
from hubspoke.clock import time_of_day
from hubspoke.types import ModelKey

if TYPE_CHECKING:
    from hub.store.database import Database
    from hubspoke.clock import Clock

_accepts: Final = sa.Table(
    "accepts",
    METADATA,
    sa.Column("model_key", sa.String, primary_key=True),
    sa.Column("task", sa.String, primary_key=True),
    sa.Column("accepted", sa.Float, nullable=False),
    sa.Column("reviewed", sa.Float, nullable=False),
    sa.Column("last_at", sa.Float, nullable=False),
)


class AcceptStore:
    """The table of what was accepted, and what one hub knows to be in it. Every method is one transaction.

    There it has the time of day, because the clock that only goes forward means nothing to another process.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._kept = Accepts()

    async def load(self) -> Accepts:
        """Give what is kept, and no more than is remembered."""
        query = sa.select(_accepts).order_by(_accepts.c.last_at.desc())
        rows = await self._database.run(lambda connection: connection.execute(query).all())
        tallies = {
            Kind(ModelKey(row.model_key), row.task): Tally(
                row.accepted, row.reviewed, self._monotonic(row.last_at)
            )
            for row in rows
        }
        # Two hubs of which one has lost the lead may have kept more together; the rest goes with the next `save`.
        self._kept = Accepts(MappingProxyType(tallies))
        return Accepts(MappingProxyType(dict(list(tallies.items())[:TALLIES_MAX])))

    async def save(self, accepts: Accepts) -> None:
        """Keep what has changed since `load`, or since this was last done."""
        gone = self._kept.tallies.keys() - accepts.tallies.keys()
        changed = {
            kind: tally for kind, tally in accepts.tallies.items() if self._kept.tallies.get(kind) != tally
        }
        if not gone and not changed:
            return
        new = [self._row(kind, tally) for kind, tally in changed.items()]

        def work(connection: sa.Connection) -> None:
            for kind in (*gone, *changed):
                connection.execute(sa.delete(_accepts).filter_by(model_key=kind.model, task=kind.task))
            if new:
                connection.execute(sa.insert(_accepts), new)

        await self._database.run(work)
        self._kept = accepts

    def _row(self, kind: Kind, tally: Tally) -> dict[str, object]:
        return {
            "model_key": kind.model,
            "task": kind.task,
            "accepted": tally.accepted,
            "reviewed": tally.reviewed,
            "last_at": time_of_day(self._clock, tally.last_at).timestamp(),
        }

    def _monotonic(self, at: float) -> float:
        """Give when it was, to the clock that only goes forward; a time of day that is still to come is taken for now."""
        ago = max(self._clock.now() - datetime.fromtimestamp(at, UTC), timedelta())
        return self._clock.monotonic() - ago.total_seconds()
