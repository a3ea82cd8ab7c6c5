"""What outlives the hub process of the mesh itself: nodes, join tokens, measured speeds, pinned models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import sqlalchemy as sa

from hub.core.types import Speed
from hub.store.database import METADATA, Database
from hubspoke.errors import AlreadyEnrolled, Unauthenticated
from hubspoke.types import ModelKey, SpokeId
from pki.identity import Identity, NodeName, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

TOKENS_KEPT_S: Final = 7 * 86_400.0
"""How long a token is remembered after its end, so that a late try gets a word about it."""

_nodes = sa.Table(
    "nodes",
    METADATA,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("role", sa.String, nullable=False),
    sa.Column("serial", sa.String, nullable=False),
    sa.Column("key_digest", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("chain_pem", sa.LargeBinary, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
)

_tokens = sa.Table(
    "join_tokens",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("secret_hash", sa.LargeBinary, nullable=False),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("role", sa.String, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
    sa.Column("used_at", sa.Float),
)

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


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate as the store keeps it: who, serial in hex, digest of the key, PEM chain, end as Unix time."""

    identity: Identity
    serial: str
    key_digest: bytes
    chain_pem: bytes
    expires_at: float


class Store:
    """The hub's database. Every method is one transaction; times are Unix times in seconds."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open the database at *path*, and make it first where there is none."""
        return cls(await Database.open(path))

    async def close(self) -> None:
        """Finish what was begun and let go of the file."""
        await self.database.close()

    async def nodes(self) -> dict[NodeName, Role]:
        """List everybody who has ever joined, with their roles."""
        rows = await self.database.run(
            lambda connection: connection.execute(sa.select(_nodes.c.name, _nodes.c.role)).all()
        )
        return {NodeName(row.name): Role(row.role) for row in rows}

    async def purge(self, now: float) -> None:
        """Forget the tokens that ended long ago."""
        old = sa.delete(_tokens).where(_tokens.c.expires_at < now - TOKENS_KEPT_S)
        await self.database.run(lambda connection: connection.execute(old))

    async def add_token(
        self, token_id: str, secret_hash: bytes, identity: Identity, *, now: float, expires_at: float
    ) -> None:
        """Keep a new join token; raise AlreadyEnrolled when the name is in use."""

        def work(connection: sa.Connection) -> None:
            _require_free(connection, identity, now)
            connection.execute(
                sa.insert(_tokens).values(
                    id=token_id,
                    secret_hash=secret_hash,
                    name=identity.name,
                    role=identity.role.value,
                    expires_at=expires_at,
                )
            )

        await self.database.run(work)

    async def redeem(
        self,
        token_id: str,
        secret_hash: bytes,
        key_digest: bytes,
        *,
        now: float,
        certify: Callable[[Identity], Certified],
    ) -> Certified:
        """Use up a token and keep the certificate that *certify* makes for it; all of it or nothing.

        The same token with the same key gets the same certificate again, should the answer be lost. Raise Unauthenticated for a token that is unknown, used, over, or has another secret; and
        AlreadyEnrolled when the name or the key is in use, in which case the token stays good.
        """

        def work(connection: sa.Connection) -> Certified:
            # One statement finds and uses it: of two that try at once, one gets a row.
            row = connection.execute(
                sa.update(_tokens)
                .where(
                    _tokens.c.id == token_id,
                    _tokens.c.secret_hash == secret_hash,
                    _tokens.c.used_at.is_(None),
                    _tokens.c.expires_at > now,
                )
                .values(used_at=now)
                .returning(_tokens.c.name, _tokens.c.role)
            ).one_or_none()
            if row is None:
                return _issued_before(connection, token_id, secret_hash, key_digest)
            identity = Identity(Role(row.role), NodeName(row.name))
            _require_free(connection, identity, now)
            _require_new_key(connection, key_digest)
            certified = certify(identity)
            connection.execute(sa.delete(_nodes).where(_nodes.c.name == identity.name))
            connection.execute(sa.insert(_nodes).values(name=identity.name, **_columns(certified)))
            return certified

        return await self.database.run(work)

    async def renew(
        self, identity: Identity, serial: str, key_digest: bytes, *, certify: Callable[[Identity], Certified]
    ) -> Certified:
        """Keep the next certificate of a node; the same key gets the same one again, should the answer be lost.

        Raise Unauthenticated when *serial* is not the node's newest certificate.
        """

        def work(connection: sa.Connection) -> Certified:
            row = connection.execute(sa.select(_nodes).where(_nodes.c.name == identity.name)).one_or_none()
            if row is not None and row.key_digest == key_digest:
                return _certified(row)
            if row is None or row.serial != serial or row.role != identity.role.value:
                raise Unauthenticated(
                    "this certificate is not the newest of its node; join again with a new token"
                )
            _require_new_key(connection, key_digest)
            certified = certify(identity)
            update = sa.update(_nodes).where(_nodes.c.name == identity.name)
            connection.execute(update.values(**_columns(certified)))
            return certified

        return await self.database.run(work)

    async def adopt(self, certified: Certified) -> None:
        """Keep a node that was certified without a token: the admin that `pki init` makes."""

        def work(connection: sa.Connection) -> None:
            known = connection.execute(
                sa.select(_nodes.c.name).where(_nodes.c.name == certified.identity.name)
            )
            if known.one_or_none() is None:
                connection.execute(
                    sa.insert(_nodes).values(name=certified.identity.name, **_columns(certified))
                )

        await self.database.run(work)

    async def reissue(self, certified: Certified) -> None:
        """Replace the certificate of a node that has one already, or take it in."""

        def work(connection: sa.Connection) -> None:
            connection.execute(sa.delete(_nodes).where(_nodes.c.name == certified.identity.name))
            connection.execute(sa.insert(_nodes).values(name=certified.identity.name, **_columns(certified)))

        await self.database.run(work)

    async def speeds(self, spoke: SpokeId) -> dict[ModelKey, Speed]:
        """Give what was measured on *spoke*."""
        query = sa.select(_speeds).where(_speeds.c.spoke == spoke)
        rows = await self.database.run(lambda connection: connection.execute(query).all())
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

        await self.database.run(work)

    async def pins(self, spoke: SpokeId) -> frozenset[ModelKey]:
        """Give the models that are to stay in memory on *spoke*."""
        query = sa.select(_pins.c.model_key).where(_pins.c.spoke == spoke)
        rows = await self.database.run(lambda connection: connection.execute(query).all())
        return frozenset(ModelKey(row.model_key) for row in rows)

    async def pin(self, spoke: SpokeId, model_key: ModelKey, *, pinned: bool) -> None:
        """Keep that a model is to stay in memory on *spoke*, or that it is not."""
        place = {"spoke": spoke, "model_key": model_key}

        def work(connection: sa.Connection) -> None:
            connection.execute(sa.delete(_pins).filter_by(**place))
            if pinned:
                connection.execute(sa.insert(_pins).values(**place))

        await self.database.run(work)


def _issued_before(
    connection: sa.Connection, token_id: str, secret_hash: bytes, key_digest: bytes
) -> Certified:
    used = sa.select(_tokens.c.name).where(_tokens.c.id == token_id, _tokens.c.secret_hash == secret_hash)
    query = sa.select(_nodes).where(_nodes.c.key_digest == key_digest, _nodes.c.name.in_(used))
    row = connection.execute(query).one_or_none()
    if row is None:
        raise Unauthenticated(
            "this token is unknown, used already or over; ask for a new one: hubspoke token create"
        )
    return _certified(row)


def _certified(row: sa.Row[tuple[str, str, str, bytes, bytes, float]]) -> Certified:
    identity = Identity(Role(row.role), NodeName(row.name))
    return Certified(identity, row.serial, row.key_digest, row.chain_pem, row.expires_at)


def _require_free(connection: sa.Connection, identity: Identity, now: float) -> None:
    query = sa.select(_nodes.c.name).where(_nodes.c.name == identity.name, _nodes.c.expires_at > now)
    if connection.execute(query).one_or_none() is not None:
        raise AlreadyEnrolled(f"{identity.name} is in the mesh already; choose another name")


def _require_new_key(connection: sa.Connection, key_digest: bytes) -> None:
    query = sa.select(_nodes.c.name).where(_nodes.c.key_digest == key_digest)
    if connection.execute(query).one_or_none() is not None:
        raise AlreadyEnrolled("this key has a certificate already; make a new key and ask again")


def _columns(certified: Certified) -> dict[str, object]:
    return {
        "role": certified.identity.role.value,
        "serial": certified.serial,
        "key_digest": certified.key_digest,
        "chain_pem": certified.chain_pem,
        "expires_at": certified.expires_at,
    }
