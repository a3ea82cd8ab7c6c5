"""What outlives the hub process about spokes: measured speeds and pinned models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from hub.core.types import Speed
from hub.store.database import METADATA
from hubspoke.types import ModelKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.store.database import Database
    from hubspoke.types import SpokeId

_speeds = sa.Table(
    "speeds",
    METADATA,
    sa.Column("spoke", sa.String, primary_key=True),
    sa.Column("model_key", sa.String, primary_key=True),
    sa.Column("decode_tokens_per_s", sa.Float),
    sa.Column("prefill_tokens_per_s", sa.Float),
    sa.Column("load_s", sa.Float),
)

_pins = sa.Table(
    "pins",
    METADATA,
    sa.Column("spoke", sa.String, primary_key=True),
    sa.Column("model_key", sa.String, primary_key=True),
)


class Store:
    """What was measured and pinned. Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def speeds(self, spoke: SpokeId) -> dict[ModelKey, Speed]:
        """Give what was measured on *spoke*."""
        query = sa.select(_speeds).where(_speeds.c.spoke == spoke)
        rows = await self._database.run(lambda connection: connection.execute(query).all())
        return {
            ModelKey(row.model_key): Speed(row.decode_tokens_per_s, row.prefill_tokens_per_s, row.load_s)
            for row in rows
        }

    async def save_speeds(self, speeds: Mapping[tuple[SpokeId, ModelKey], Speed]) -> None:
        """Keep what was measured."""

        def work(connection: sa.Connection) -> None:
            for (spoke, model_key), speed in speeds.items():
                place = {"spoke": spoke, "model_key": model_key}
                connection.execute(sa.delete(_speeds).filter_by(**place))
                row = {
                    **place,
                    "decode_tokens_per_s": speed.decode_tokens_per_s,
                    "prefill_tokens_per_s": speed.prefill_tokens_per_s,
                    "load_s": speed.load_s,
                }
                connection.execute(sa.insert(_speeds).values(**row))

        await self._database.run(work)

    async def pins(self, spoke: SpokeId) -> frozenset[ModelKey]:
        """Give the models that are to stay in memory on *spoke*."""
        query = sa.select(_pins.c.model_key).where(_pins.c.spoke == spoke)
        rows = await self._database.run(lambda connection: connection.execute(query).all())
        return frozenset(ModelKey(row.model_key) for row in rows)

    async def pin(self, spoke: SpokeId, model_key: ModelKey, *, pinned: bool) -> None:
        """Keep that a model is to stay in memory on *spoke*, or that it is not."""
        place = {"spoke": spoke, "model_key": model_key}

        def work(connection: sa.Connection) -> None:
            connection.execute(sa.delete(_pins).filter_by(**place))
            if pinned:
                connection.execute(sa.insert(_pins).values(**place))

        await self._database.run(work)
