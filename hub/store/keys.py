"""API keys as digests, and what they have used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec
import sqlalchemy as sa

from hub.core.quota import ApiKey, KeyId, Scope
from hub.store.database import METADATA, Database
from hubspoke.types import Priority

if TYPE_CHECKING:
    from collections.abc import Iterable

_keys: Final = sa.Table(
    "api_keys",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("secret_hash", sa.LargeBinary, nullable=False),
    sa.Column("models", sa.String, nullable=False),
    sa.Column("requests_per_minute", sa.Integer),
    sa.Column("tokens_per_day", sa.BigInteger),
    sa.Column("priority", sa.String, nullable=False),
    sa.Column("scopes", sa.String, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("revoked_at", sa.Float),
)

_used: Final = sa.Table(
    "api_key_usage",
    METADATA,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("day", sa.Integer, primary_key=True),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
    sa.Column("output_tokens", sa.BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Known:
    """A key as it is kept."""

    key: ApiKey
    secret_hash: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Used:
    """What a key has used of a model on a day, counted in days since 1970."""

    key: KeyId
    model: str
    day: int
    requests: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0


class KeyStore:
    """The tables of keys. Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keys(self) -> tuple[Known, ...]:
        """List every key, those that were revoked included."""
        rows = await self._database.run(lambda connection: connection.execute(sa.select(_keys)).all())
        return tuple(_known(row) for row in rows)

    async def add(self, known: Known) -> None:
        """Keep a new key."""
        key = known.key
        row = {
            "id": key.id,
            "name": key.name,
            "secret_hash": known.secret_hash,
            "models": msgspec.json.encode(key.models).decode(),
            "requests_per_minute": key.requests_per_minute,
            "tokens_per_day": key.tokens_per_day,
            "priority": key.priority.value,
            "scopes": msgspec.json.encode(sorted(key.scopes)).decode(),
            "created_at": key.created_at,
            "revoked_at": key.revoked_at,
        }
        await self._database.run(lambda connection: connection.execute(sa.insert(_keys).values(**row)))

    async def revoke(self, key: KeyId, at: float) -> None:
        """Keep that a key has ended."""
        update = sa.update(_keys).where(_keys.c.id == key).values(revoked_at=at)
        await self._database.run(lambda connection: connection.execute(update))

    async def add_used(self, rows: Iterable[Used]) -> None:
        """Add what was used to what was used before."""

        def work(connection: sa.Connection) -> None:
            for used in rows:
                place = {"key": used.key, "model": used.model, "day": used.day}
                added = {
                    "requests": used.requests,
                    "prompt_tokens": used.prompt_tokens,
                    "output_tokens": used.output_tokens,
                }
                more = {name: _used.c[name] + count for name, count in added.items()}
                if connection.execute(sa.update(_used).filter_by(**place).values(**more)).rowcount == 0:
                    connection.execute(sa.insert(_used).values(**place, **added))

        await self._database.run(work)

    async def used_since(self, day: int) -> tuple[Used, ...]:
        """Give what was used on *day* and after it, the newest first."""
        query = sa.select(_used).where(_used.c.day >= day).order_by(_used.c.day.desc(), _used.c.model)
        rows = await self._database.run(lambda connection: connection.execute(query).all())
        return tuple(
            Used(KeyId(row.key), row.model, row.day, row.requests, row.prompt_tokens, row.output_tokens)
            for row in rows
        )


def _known(row: sa.Row[tuple[object, ...]]) -> Known:
    key = ApiKey(
        id=KeyId(row.id),
        name=row.name,
        models=msgspec.json.decode(row.models, type=tuple[str, ...]),
        requests_per_minute=row.requests_per_minute,
        tokens_per_day=row.tokens_per_day,
        priority=Priority(row.priority),
        scopes=msgspec.json.decode(row.scopes, type=frozenset[Scope]),
        created_at=row.created_at,
        revoked_at=row.revoked_at,
    )
    return Known(key, row.secret_hash)
