"""How somebody gets into the mesh: with a token, and perhaps an operator's word."""

from __future__ import annotations

import logging
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from hub.core.nonces import Nonces
from hub.identities import REFUSED, explained, requested_key
from hub.store.nodes import NodeRecord
from hub.store.tokens import Shown, Verdict, Waiting
from hubspoke.errors import InvalidRequest, Unauthenticated
from hubspoke.types import NodeState
from pki.errors import BadAddress, BadIdentity, BadProof, PeerRefused, Refusal
from pki.identity import Identity, Role, node_name
from pki.keys import fingerprint, key_digest
from pki.proof import NONCE_BYTES, check_proof
from pki.tokens import JoinToken, secret_hash

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from hub.audit import Audit
    from hub.identities import Identities, Issued
    from hub.store.tokens import TokenStore
    from hubspoke.clock import Clock
    from pki.address import Address

log = logging.getLogger(__name__)

TOKEN_LIFETIME_DEFAULT: Final = timedelta(minutes=10)
TOKEN_LIFETIME_MAX: Final = timedelta(hours=24)

REJOIN_MAX: Final = timedelta(days=90)
"""How long after the end of its certificate a node comes back by itself. Longer ago, somebody has to want it back."""


@dataclass(frozen=True, slots=True)
class NewToken:
    """A join token, shown once, and when it ends."""

    text: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"NewToken(text=..., expires_at={self.expires_at!r})"


@dataclass(frozen=True, slots=True)
class Comeback:
    """What a node shows that comes back after its certificate has ended: see `pki.proof`."""

    serial: str
    nonce: bytes
    request_der: bytes
    proof: bytes
    held_generation: int


@dataclass(frozen=True, slots=True)
class TokenPlan:
    """What a join token is to be for; without a *lifetime* the usual one."""

    name: str
    role: Role
    lifetime: timedelta | None = None
    needs_approval: bool = False


class Admissions:
    """Makes tokens, takes them back, and keeps those waiting whom an operator has to approve.

    With *needs_approval* that is everybody.
    """

    def __init__(
        self,
        tokens: TokenStore,
        identities: Identities,
        clock: Clock,
        audit: Audit,
        *,
        needs_approval: bool = False,
    ) -> None:
        self._tokens = tokens
        self._identities = identities
        self._clock = clock
        self._audit = audit
        self._needs_approval = needs_approval
        self._nonces = Nonces()

    async def create_token(self, plan: TokenPlan, addresses: Sequence[Address], by: str) -> NewToken:
        """Make a one-use token for an admin; raise InvalidRequest or AlreadyEnrolled when that cannot be."""
        if plan.role is Role.HUB:
            raise InvalidRequest(
                "a token can make a spoke, an app or an admin; hubs are made by `hubspoke pki init` and "
                "`hubspoke pki add-hub`"
            )
        lifetime = TOKEN_LIFETIME_DEFAULT if plan.lifetime is None else plan.lifetime
        if not timedelta(0) < lifetime <= TOKEN_LIFETIME_MAX:
            raise InvalidRequest(f"a token can live for more than 0 and at most {TOKEN_LIFETIME_MAX}")
        try:
            identity = Identity(plan.role, node_name(plan.name))
        except BadIdentity as error:
            raise InvalidRequest(str(error)) from error
        token = self._mint(addresses)
        now = self._clock.now()
        expires_at = now + lifetime
        await self._tokens.add(
            token.id,
            secret_hash(token.secret),
            identity,
            needs_approval=plan.needs_approval or self._needs_approval,
            now=now.timestamp(),
            expires_at=expires_at.timestamp(),
        )
        facts = {"token": token.id, "node": plan.name, "role": plan.role.value}
        log.info("token created", extra=facts)
        self._audit.note("token.create", **facts, by=by, expires_at=expires_at.isoformat(timespec="seconds"))
        return NewToken(token.text, expires_at)

    async def join(self, token_id: str, secret: bytes, request_der: bytes) -> Issued | Waiting:
        """Trade a token for a first certificate, or for a place among those that wait to be approved.

        Asking again with the same key gives the same answer, or by then another one. Raise InvalidRequest, and what
        `TokenStore.redeem` raises.
        """
        found = await self._ask(self._tokens.redeem, token_id, secret, request_der)
        if isinstance(found, Waiting):
            facts = {"node": found.identity.name, "role": found.identity.role.value}
            log.warning("node waits to be approved", extra=facts)
            self._audit.note("enrol.waiting", **facts, token=token_id, key=fingerprint(found.key_digest))
        return found

    async def status(self, token_id: str, secret: bytes, request_der: bytes) -> Issued | Waiting:
        """Say what has become of a `join`; raise what it raises, and never use a token."""
        return await self._ask(self._tokens.status, token_id, secret, request_der)

    def challenge(self) -> bytes:
        """Give a number for `rejoin`."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        self._nonces.give(nonce, self._clock.monotonic())
        return nonce

    async def rejoin(self, comeback: Comeback) -> Issued:
        """Trade a node's newest certificate, up to REJOIN_MAX after its end, for the next one.

        Raise InvalidRequest, and Unauthenticated for whoever does not hold its key or may not come back.
        """
        if not self._nonces.take(comeback.nonce, self._clock.monotonic()):
            raise Unauthenticated("the number from the hub is not good, or not any more; try again")
        return await self._identities.rejoin(
            comeback.request_der, comeback.serial, comeback.held_generation, partial(self._check, comeback)
        )

    async def waiting(self) -> tuple[Waiting, ...]:
        """List those that wait to be approved, and those that were and have not come for their certificate yet."""
        return await self._tokens.waiting(self._clock.now().timestamp())

    async def judge(self, name: str, verdict: Verdict, by: str) -> Waiting:
        """Approve or deny somebody who waits; raise UnknownNode."""
        waiting = await self._tokens.judge(name, verdict, self._clock.now().timestamp())
        log.info("node judged", extra={"node": name, "verdict": verdict.value})
        self._audit.note(f"enrol.{verdict}", node=name, by=by)
        return waiting

    async def sweep(self) -> None:
        """Note which tokens have run out unused since the last time, or while no hub was there; raise StoreFailed."""
        for token, identity, ends_at in await self._tokens.end_unused(self._clock.now().timestamp()):
            facts = {"token": token, "node": identity.name, "role": identity.role.value}
            log.info("token expired", extra=facts)
            expires_at = datetime.fromtimestamp(ends_at, UTC).isoformat(timespec="seconds")
            self._audit.note("token.expire", **facts, expires_at=expires_at)

    def _check(self, comeback: Comeback, node: NodeRecord, public_key: bytes) -> None:
        try:
            check_proof(public_key, comeback.nonce, comeback.request_der, comeback.proof)
        except BadProof:
            raise Unauthenticated(REFUSED) from PeerRefused(Refusal.WRONG_KEY)
        # Whoever holds the key may hear why not.
        why = _objection(node, self._clock.now())
        if why:
            raise Unauthenticated(why)

    async def _ask(
        self,
        ask: Callable[..., Awaitable[NodeRecord | Waiting]],
        token_id: str,
        secret: bytes,
        request_der: bytes,
    ) -> Issued | Waiting:
        key = requested_key(request_der)
        shown = Shown(token_id, secret_hash(secret), key_digest(key), self._clock.now().timestamp())
        found = await ask(shown, certify=lambda identity: self._identities.certify(key, identity))
        if not isinstance(found, NodeRecord):
            return found
        self._identities.know(found)
        log.info("node joined", extra={"node": found.identity.name, "role": found.identity.role.value})
        self._identities.note_certificate("enrol.ok", found)
        return self._identities.issued(found)

    def _mint(self, addresses: Sequence[Address]) -> JoinToken:
        """Make a token with as many of *addresses* as one pasted line holds, the best ones."""
        for count in range(len(addresses), 0, -1):
            with suppress(BadAddress):
                return JoinToken.mint(self._identities.anchors[0], addresses[:count])
        raise InvalidRequest(
            "the hub has no address that a token could hold; set hub.advertise to a short one"
        )


def _objection(node: NodeRecord, now: datetime) -> str:
    """Say why *node* may not come back, and what whoever runs the mesh can do; nothing if it may."""
    name, role = node.identity.name, node.identity.role
    anew = f"make a token with `hubspoke token create {name} --role {role}`, and join with it"
    if node.state is NodeState.LOCKED:
        return f"{name} is locked: {explained(node)}"
    if node.state is not NodeState.ACTIVE:
        return f"{name} was revoked; to let it in again, {anew}"
    if now.timestamp() > node.expires_at + REJOIN_MAX.total_seconds():
        return f"the certificate of {name} ended more than {REJOIN_MAX.days} days ago; {anew}"
    return ""
