"""Who is in the mesh: nodes, their certificates, and what has become of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from hub.store.database import METADATA
from hubspoke.errors import AlreadyEnrolled, InvalidRequest, Unauthenticated, UnknownNode
from hubspoke.types import NodeState
from pki.identity import Identity, NodeName, Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub.store.database import Database

SERIALS_KEPT_S: Final = 90 * 86_400.0
"""How long a certificate is remembered after its end: for as long as its holder may come back with it."""

OLDER: Final = "an older certificate asked for a new one, with another key"
UNRECORDED: Final = (
    "it asked for a new certificate with one that this hub has no record of: the hub's state was put back from an older copy, "
    "or somebody forges certificates"
)
"""Why nodes are locked."""

NODES: Final = sa.Table(
    "nodes",
    METADATA,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("role", sa.String, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("since", sa.Float, nullable=False),
    sa.Column("why", sa.String, nullable=False, default=""),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("bundle_generation", sa.Integer, nullable=False, default=0),
    sa.Column("serial", sa.String, nullable=False),
    sa.Column("key_digest", sa.LargeBinary, nullable=False),
    sa.Column("chain_pem", sa.LargeBinary, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
)
"""One row a name that has ever had a certificate, with the newest one."""

_ISSUED: Final = sa.Table(
    "issued",
    METADATA,
    sa.Column("serial", sa.String, primary_key=True),
    sa.Column("name", sa.String, nullable=False, index=True),
    sa.Column("public_key", sa.LargeBinary, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
    sa.Column("revoked_at", sa.Float),
)

_KEYS: Final = sa.Table("keys_seen", METADATA, sa.Column("digest", sa.LargeBinary, primary_key=True))
"""Every key that has ever had a certificate or asked for one: none gets a second."""

_CHANGES: Final = sa.Table(
    "changes",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("state", sa.String, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate as the store keeps it: who, serial in hex, public key in DER, PEM chain, end as Unix time."""

    identity: Identity
    serial: str
    public_key: bytes
    chain_pem: bytes
    expires_at: float

    @property
    def key_digest(self) -> bytes:
        """What the key is recognised by."""
        return hashlib.sha256(self.public_key).digest()


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node with its newest certificate; *since* is when it came into its *state*, and *why* says how."""

    identity: Identity
    state: NodeState
    since: float
    why: str
    generation: int
    bundle_generation: int
    serial: str
    key_digest: bytes
    chain_pem: bytes
    expires_at: float


@dataclass(frozen=True, slots=True)
class Change:
    """Somebody's state from some moment on. Numbers count from 1 without a gap."""

    number: int
    at: float
    name: NodeName
    state: NodeState


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for the next certificate: the serial of the one that it is asked with, and the digest of the new key."""

    serial: str
    key_digest: bytes
    held_generation: int
    now: float


class NodeStore:
    """The nodes of the hub's database. Every method is one transaction; times are Unix times in seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def nodes(self) -> tuple[NodeRecord, ...]:
        """List everybody who has ever had a certificate."""
        rows = await self._database.run(lambda on: on.execute(sa.select(NODES).order_by(NODES.c.name)).all())
        return tuple(_record(row) for row in rows)

    async def revoked(self, now: float) -> frozenset[str]:
        """List the serials that were revoked and would count otherwise."""
        query = sa.select(_ISSUED.c.serial).where(
            _ISSUED.c.revoked_at.is_not(None), _ISSUED.c.expires_at > now
        )
        rows = await self._database.run(lambda on: on.execute(query).all())
        return frozenset(row.serial for row in rows)

    async def changes(self, since: int) -> tuple[Change, ...]:
        """List what changed after the change number *since*, in order."""
        query = sa.select(_CHANGES).where(_CHANGES.c.number > since).order_by(_CHANGES.c.number)
        rows = await self._database.run(lambda on: on.execute(query).all())
        return tuple(Change(row.number, row.at, NodeName(row.name), NodeState(row.state)) for row in rows)

    async def acks(self) -> dict[NodeName, int]:
        """Say which generation of the roots each active node is known to hold."""
        query = sa.select(NODES.c.name, NODES.c.bundle_generation).where(NODES.c.state == NodeState.ACTIVE)
        rows = await self._database.run(lambda on: on.execute(query).all())
        return {NodeName(row.name): row.bundle_generation for row in rows}

    async def ack(self, name: NodeName, held_generation: int) -> None:
        """Keep which generation of the roots *name* holds."""
        await self._database.run(lambda on: _ack(on, name, held_generation))

    async def purge(self, now: float) -> None:
        """Forget the certificates that ended long ago; their keys are never forgotten."""
        old = sa.delete(_ISSUED).where(_ISSUED.c.expires_at < now - SERIALS_KEPT_S)
        await self._database.run(lambda on: on.execute(old))

    async def adopt(self, certified: Certified, now: float) -> NodeRecord:
        """Keep a node that was certified without a token, unless its name is known: the admin that `pki init` makes."""

        def work(on: sa.Connection) -> NodeRecord:
            if find(on, certified.identity.name) is None:
                see_key(on, certified.key_digest)
                put(on, certified, now)
            return _require(on, certified.identity.name)

        return await self._database.run(work)

    async def reissue(self, certified: Certified, now: float) -> NodeRecord:
        """Replace the certificate of a node, whatever state it is in, or take it in. The old ones no longer count."""

        def work(on: sa.Connection) -> NodeRecord:
            see_key(on, certified.key_digest)
            _revoke_serials(on, certified.identity.name, now)
            before = find(on, certified.identity.name)
            put(on, certified, now)
            if before is not None and before.state is NodeState.ACTIVE:
                _note_change(on, before.identity.name, NodeState.ACTIVE, now)  # its serials have changed
            return _require(on, certified.identity.name)

        return await self._database.run(work)

    async def renew(
        self, identity: Identity, asked: Asked, *, certify: Callable[[Identity], Certified]
    ) -> NodeRecord:
        """Keep the next certificate of a node, and give the node; the same key gets the same one, should the answer be lost.

        Whoever asks with an older certificate and a new key holds a copy of the identity, or was robbed of it: the node is
        locked then, and comes back as that. Raise Unauthenticated for one that is not active.
        """

        def work(on: sa.Connection) -> NodeRecord:
            node = find(on, identity.name)
            if node is None or node.identity != identity or node.state is not NodeState.ACTIVE:
                raise Unauthenticated("this identity has no certificate that could be renewed")
            _ack(on, identity.name, asked.held_generation)
            return _next(on, node, asked, certify)

        return await self._database.run(work)

    async def rejoin(
        self,
        asked: Asked,
        *,
        check: Callable[[NodeRecord, bytes], None],
        certify: Callable[[Identity], Certified],
    ) -> NodeRecord | None:
        """Renew without a certificate that TLS has seen. Give None for a serial that nobody has.

        *check* gets the node and the public key of the certificate named, and raises unless whoever asks holds that key and
        may come back. As `renew`, this may give a node that it has locked.
        """

        def work(on: sa.Connection) -> NodeRecord | None:
            query = sa.select(_ISSUED.c.name, _ISSUED.c.public_key).where(_ISSUED.c.serial == asked.serial)
            row = on.execute(query).one_or_none()
            node = None if row is None else find(on, row.name)
            if row is None or node is None:
                return None
            check(node, row.public_key)
            return _next(on, node, asked, certify)

        return await self._database.run(work)

    async def revoke(self, name: str, now: float) -> tuple[NodeRecord, frozenset[str]]:
        """End a node: its certificates and its tokens no longer count. Give the serials that would count otherwise.

        Raise UnknownNode for a name that never had a certificate.
        """

        def work(on: sa.Connection) -> tuple[NodeRecord, frozenset[str]]:
            node = _require(on, name)
            serials = _revoke_serials(on, node.identity.name, now)
            set_state(on, node.identity.name, NodeState.REVOKED, "by an admin", now)
            return _require(on, name), serials

        return await self._database.run(work)

    async def unlock(self, name: str, now: float) -> NodeRecord:
        """Let a locked node in again, with its newest certificate; raise UnknownNode, or InvalidRequest for another state."""

        def work(on: sa.Connection) -> NodeRecord:
            node = _require(on, name)
            if node.state is not NodeState.LOCKED:
                raise InvalidRequest(f"{name} is not locked, it is {node.state}")
            set_state(on, node.identity.name, NodeState.ACTIVE, "", now)
            return _require(on, name)

        return await self._database.run(work)


# For the tables beside this one, inside of their transactions.


def find(on: sa.Connection, name: str) -> NodeRecord | None:
    """Give the node called *name*."""
    row = on.execute(sa.select(NODES).where(NODES.c.name == name)).one_or_none()
    return None if row is None else _record(row)


def put(on: sa.Connection, certified: Certified, now: float) -> None:
    """Make *certified* the newest certificate of its node, which is active from now on. The name may be new."""
    before = find(on, certified.identity.name)
    if before is None or before.state is not NodeState.ACTIVE:
        _note_change(on, certified.identity.name, NodeState.ACTIVE, now)
    row = {
        "role": certified.identity.role.value,
        "state": NodeState.ACTIVE.value,
        "since": now if before is None or before.state is not NodeState.ACTIVE else before.since,
        "why": "",
        "generation": 1 if before is None else before.generation + 1,
        "serial": certified.serial,
        "key_digest": certified.key_digest,
        "chain_pem": certified.chain_pem,
        "expires_at": certified.expires_at,
    }
    if before is None:
        on.execute(sa.insert(NODES).values(name=certified.identity.name, **row))
    else:
        on.execute(sa.update(NODES).where(NODES.c.name == certified.identity.name).values(**row))
    on.execute(
        sa.insert(_ISSUED).values(
            serial=certified.serial,
            name=certified.identity.name,
            public_key=certified.public_key,
            expires_at=certified.expires_at,
        )
    )


def see_key(on: sa.Connection, digest: bytes) -> None:
    """Remember a key for ever; raise AlreadyEnrolled for one that was seen before."""
    known = sa.select(_KEYS.c.digest).where(_KEYS.c.digest == digest)
    if on.execute(known).one_or_none() is not None:
        raise AlreadyEnrolled("this key has a certificate already; make a new key and ask again")
    on.execute(sa.insert(_KEYS).values(digest=digest))


def set_state(on: sa.Connection, name: NodeName, state: NodeState, why: str, now: float) -> None:
    """Bring a node into *state*."""
    row = {"state": state.value, "since": now, "why": why}
    on.execute(sa.update(NODES).where(NODES.c.name == name).values(**row))
    _note_change(on, name, state, now)


def _next(
    on: sa.Connection, node: NodeRecord, asked: Asked, certify: Callable[[Identity], Certified]
) -> NodeRecord:
    name = node.identity.name
    if node.key_digest == asked.key_digest:
        return node  # asked before, and the answer got lost
    if node.serial != asked.serial:
        is_recorded = (
            on.execute(sa.select(_ISSUED.c.serial).filter_by(serial=asked.serial)).scalar() is not None
        )
        set_state(on, name, NodeState.LOCKED, OLDER if is_recorded else UNRECORDED, asked.now)
        return _require(on, name)
    see_key(on, asked.key_digest)
    put(on, certify(node.identity), asked.now)
    return _require(on, name)


def _require(on: sa.Connection, name: str) -> NodeRecord:
    node = find(on, name)
    if node is None:
        raise UnknownNode(f"there is no node {name!r}; `hubspoke nodes list` shows them")
    return node


def _revoke_serials(on: sa.Connection, name: NodeName, now: float) -> frozenset[str]:
    good = (_ISSUED.c.name == name, _ISSUED.c.revoked_at.is_(None))
    rows = on.execute(
        sa.update(_ISSUED)
        .where(*good)
        .values(revoked_at=now)
        .returning(_ISSUED.c.serial, _ISSUED.c.expires_at)
    )
    return frozenset(row.serial for row in rows.all() if row.expires_at > now)


def _ack(on: sa.Connection, name: NodeName, held_generation: int) -> None:
    on.execute(sa.update(NODES).where(NODES.c.name == name).values(bundle_generation=held_generation))


def _note_change(on: sa.Connection, name: NodeName, state: NodeState, now: float) -> None:
    # Counted here and not by the database, whose own counters leave gaps when a transaction comes to nothing.
    last = on.execute(sa.select(sa.func.max(_CHANGES.c.number))).scalar() or 0
    on.execute(sa.insert(_CHANGES).values(number=last + 1, at=now, name=name, state=state.value))


def _record(row: sa.Row[tuple[object, ...]]) -> NodeRecord:
    return NodeRecord(
        identity=Identity(Role(row.role), NodeName(row.name)),
        state=NodeState(row.state),
        since=row.since,
        why=row.why,
        generation=row.generation,
        bundle_generation=row.bundle_generation,
        serial=row.serial,
        key_digest=row.key_digest,
        chain_pem=row.chain_pem,
        expires_at=row.expires_at,
    )
