"""Who may become part of the mesh: join tokens, and those that wait for an operator's word."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

from hub.store.database import METADATA
from hub.store.nodes import NodeRecord, find, put, see_key
from hubspoke.errors import AlreadyEnrolled, PermissionDenied, Unauthenticated, UnknownNode
from hubspoke.types import NodeState
from pki.identity import Identity, NodeName, Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub.store.database import Database
    from hub.store.nodes import Certified

TOKENS_KEPT_S: Final = 7 * 86_400.0
"""How long a token that was used is remembered after its end, so that a late try gets a word about it."""

WAITING_S_MAX: Final = 24 * 3_600.0
"""How long an operator may take to approve somebody."""

NOT_GOOD: Final = "this token is unknown, used already or over; ask for a new one: hubspoke token create"

_TOKENS: Final = sa.Table(
    "join_tokens",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("secret_hash", sa.LargeBinary, nullable=False),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("role", sa.String, nullable=False),
    sa.Column("needs_approval", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
    sa.Column("used_at", sa.Float),
)

_WAITING: Final = sa.Table(
    "join_requests",
    METADATA,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("role", sa.String, nullable=False),
    sa.Column("token", sa.String, nullable=False, unique=True),
    sa.Column("key_digest", sa.LargeBinary, nullable=False),
    sa.Column("verdict", sa.String, nullable=False),
    sa.Column("asked_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
)


class Verdict(StrEnum):
    """What an operator has said about somebody who wants to join."""

    NONE = "none"
    APPROVED = "approved"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody with a good token whom an operator has to approve."""

    identity: Identity
    key_digest: bytes
    verdict: Verdict
    asked_at: float
    expires_at: float


class RanOut(NamedTuple):
    """A token that nobody has used in time."""

    token: str
    identity: Identity
    expires_at: float


@dataclass(frozen=True, slots=True)
class Shown:
    """What somebody who wants to join shows: a token's id and the hash of its secret, and the digest of a key."""

    token: str
    secret_hash: bytes
    key_digest: bytes
    now: float


class TokenStore:
    """The tokens of the hub's database. Every method is one transaction; times are Unix times in seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self,
        token_id: str,
        secret_hash: bytes,
        identity: Identity,
        *,
        needs_approval: bool,
        now: float,
        expires_at: float,
    ) -> None:
        """Keep a new join token; raise AlreadyEnrolled when the name is in use."""

        def work(on: sa.Connection) -> None:
            _require_free(on, identity.name, now)
            on.execute(
                sa.insert(_TOKENS).values(
                    id=token_id,
                    secret_hash=secret_hash,
                    name=identity.name,
                    role=identity.role.value,
                    needs_approval=needs_approval,
                    created_at=now,
                    expires_at=expires_at,
                )
            )

        await self._database.run(work)

    async def redeem(self, shown: Shown, *, certify: Callable[[Identity], Certified]) -> NodeRecord | Waiting:
        """Use up a token and keep the certificate that *certify* makes for it; all of it or nothing.

        Where an operator has to approve, that happens with the first call after the approval, and until then this gives who
        waits. The same token with the same key gets the same answer again, should one be lost. Raise Unauthenticated for a
        token that is unknown, used, over, or has another secret, and for one whose approval came too late; PermissionDenied
        for one that was denied; AlreadyEnrolled when the name or the key is in use, in which case the token stays good.
        """

        def work(on: sa.Connection) -> NodeRecord | Waiting:
            # One statement finds and uses it: of two that try at once, one gets a row.
            row = on.execute(
                sa.update(_TOKENS)
                .where(
                    _TOKENS.c.id == shown.token,
                    _TOKENS.c.secret_hash == shown.secret_hash,
                    _TOKENS.c.used_at.is_(None),
                    _TOKENS.c.expires_at > shown.now,
                )
                .values(used_at=shown.now)
                .returning(*_TOKENS.c)
            ).one_or_none()
            if row is None:
                return _asked_before(on, shown, certify)
            identity = Identity(Role(row.role), NodeName(row.name))
            _require_free(on, identity.name, shown.now)
            _require_not_revoked_since(on, identity.name, row.created_at)
            see_key(on, shown.key_digest)
            if row.needs_approval:
                return _wait(on, identity, shown)
            return _admit(on, certify(identity), shown.now)

        return await self._database.run(work)

    async def status(self, shown: Shown, *, certify: Callable[[Identity], Certified]) -> NodeRecord | Waiting:
        """Say what has become of a token that was used, as `redeem` does, and never use one."""
        return await self._database.run(lambda on: _asked_before(on, shown, certify))

    async def waiting(self, now: float) -> tuple[Waiting, ...]:
        """List those that wait for an operator, or for their certificate after his word."""
        query = sa.select(_WAITING).where(_WAITING.c.expires_at > now, _WAITING.c.verdict != Verdict.DENIED)
        rows = await self._database.run(lambda on: on.execute(query.order_by(_WAITING.c.name)).all())
        return tuple(_waiting(row) for row in rows)

    async def judge(self, name: str, verdict: Verdict, now: float) -> Waiting:
        """Keep an operator's word on somebody who waits; raise UnknownNode when nobody of that name does."""

        def work(on: sa.Connection) -> Waiting:
            row = on.execute(
                sa.update(_WAITING)
                .where(
                    _WAITING.c.name == name,
                    _WAITING.c.expires_at > now,
                    _WAITING.c.verdict != Verdict.DENIED,
                )
                .values(verdict=verdict.value)
                .returning(*_WAITING.c)
            ).one_or_none()
            if row is None:
                raise UnknownNode(
                    f"nobody called {name!r} waits to join; `hubspoke nodes list` shows who does"
                )
            return _waiting(row)

        return await self._database.run(work)

    async def end_unused(self, now: float) -> tuple[RanOut, ...]:
        """Forget the tokens that ran out unused, and give each of them once. An unknown one is refused in the same words."""
        query = (
            sa.delete(_TOKENS)
            .where(_TOKENS.c.used_at.is_(None), _TOKENS.c.expires_at <= now)
            .returning(*_TOKENS.c)
        )
        rows = await self._database.run(lambda on: on.execute(query).all())
        return tuple(
            RanOut(row.id, Identity(Role(row.role), NodeName(row.name)), row.expires_at) for row in rows
        )

    async def purge(self, now: float) -> None:
        """Forget the tokens that were used, and those who waited, that ended long ago."""

        def work(on: sa.Connection) -> None:
            is_over = (_TOKENS.c.used_at.is_not(None), _TOKENS.c.expires_at < now - TOKENS_KEPT_S)
            on.execute(sa.delete(_TOKENS).where(*is_over))
            on.execute(sa.delete(_WAITING).where(_WAITING.c.expires_at < now - TOKENS_KEPT_S))

        await self._database.run(work)


def _wait(on: sa.Connection, identity: Identity, shown: Shown) -> Waiting:
    waiting = Waiting(identity, shown.key_digest, Verdict.NONE, shown.now, shown.now + WAITING_S_MAX)
    on.execute(sa.delete(_WAITING).where(_WAITING.c.name == identity.name))
    on.execute(
        sa.insert(_WAITING).values(
            name=identity.name,
            role=identity.role.value,
            token=shown.token,
            key_digest=shown.key_digest,
            verdict=Verdict.NONE.value,
            asked_at=waiting.asked_at,
            expires_at=waiting.expires_at,
        )
    )
    return waiting


def _asked_before(
    on: sa.Connection, shown: Shown, certify: Callable[[Identity], Certified]
) -> NodeRecord | Waiting:
    right = (_TOKENS.c.id == shown.token, _TOKENS.c.secret_hash == shown.secret_hash)
    token = on.execute(sa.select(_TOKENS.c.name).where(*right, _TOKENS.c.used_at.is_not(None))).one_or_none()
    if token is None:
        raise Unauthenticated(NOT_GOOD)
    node = find(on, token.name)
    if node is not None and node.key_digest == shown.key_digest and node.state is NodeState.ACTIVE:
        return node
    mine = (_WAITING.c.token == shown.token, _WAITING.c.key_digest == shown.key_digest)
    row = on.execute(sa.select(_WAITING).where(*mine)).one_or_none()
    if row is None:
        raise Unauthenticated(NOT_GOOD)
    return _judged(on, _waiting(row), shown.now, certify)


def _judged(
    on: sa.Connection, waiting: Waiting, now: float, certify: Callable[[Identity], Certified]
) -> NodeRecord | Waiting:
    name = waiting.identity.name
    if waiting.verdict is Verdict.DENIED:
        raise PermissionDenied(f"an admin has denied {name} entry to the mesh")
    if now >= waiting.expires_at:
        raise Unauthenticated(
            f"nobody has approved {name} in time; ask for a new token: hubspoke token create"
        )
    if waiting.verdict is Verdict.NONE:
        return waiting
    _require_not_revoked_since(on, name, waiting.asked_at)
    on.execute(sa.delete(_WAITING).where(_WAITING.c.name == name))
    return _admit(on, certify(waiting.identity), now)


def _admit(on: sa.Connection, certified: Certified, now: float) -> NodeRecord:
    put(on, certified, now)
    node = find(on, certified.identity.name)
    assert node is not None  # noqa: S101  # it was put there a line above
    return node


def _require_free(on: sa.Connection, name: NodeName, now: float) -> None:
    node = find(on, name)
    if node is not None and node.state is NodeState.LOCKED:
        raise AlreadyEnrolled(
            f"{name} is locked; let it in again with `hubspoke nodes unlock {name}`, or end it for good with "
            f"`hubspoke revoke {name}` and make a token then"
        )
    if node is not None and node.state is NodeState.ACTIVE and node.expires_at > now:
        raise AlreadyEnrolled(f"{name} is in the mesh already; choose another name")
    waits = (_WAITING.c.name == name, _WAITING.c.expires_at > now, _WAITING.c.verdict != Verdict.DENIED)
    if on.execute(sa.select(_WAITING.c.name).where(*waits)).one_or_none() is not None:
        raise AlreadyEnrolled(
            f"{name} waits to be approved; `hubspoke nodes approve {name}` lets it in, or choose another name"
        )


def _require_not_revoked_since(on: sa.Connection, name: NodeName, at: float) -> None:
    """Raise Unauthenticated for what was handed out at *at*, if *name* was revoked since: it must not undo that."""
    node = find(on, name)
    if node is not None and node.state is NodeState.REVOKED and node.since >= at:
        raise Unauthenticated(NOT_GOOD)


def _waiting(row: sa.Row[tuple[object, ...]]) -> Waiting:
    return Waiting(
        identity=Identity(Role(row.role), NodeName(row.name)),
        key_digest=row.key_digest,
        verdict=Verdict(row.verdict),
        asked_at=row.asked_at,
        expires_at=row.expires_at,
    )
