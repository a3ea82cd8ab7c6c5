"""Who is in the mesh, and what a certificate is worth right now."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from hub.store.nodes import UNRECORDED, Asked, Certified
from hubspoke.errors import InvalidRequest, Unauthenticated
from hubspoke.types import NodeState
from pki import bundle, pem, policy, profiles
from pki.errors import BadCsr, PeerRefused, Refusal
from pki.keys import key_digest, public_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from cryptography import x509

    from hub.audit import Audit
    from hub.store.nodes import NodeRecord, NodeStore
    from hub.trust import Trust
    from hubspoke.clock import Clock
    from pki.bundle import Chain
    from pki.identity import Identity, NodeName
    from pki.policy import Peer

log = logging.getLogger(__name__)

PEERS_CACHED_MAX: Final = 4_096

CATCH_UP_S: Final = 0.1
"""For each node, of the time over which they spread: a renewal takes a hub some milliseconds."""

REFUSED: Final = (
    "this identity is not accepted; whoever runs the mesh sees why with `hubspoke nodes list`, and can unlock it or make a "
    "new token"
)
"""All that a refused caller is told. The reason is in the audit log."""


class Calls(Protocol):
    """The calls that are being served now."""

    def cut(self, name: NodeName) -> int:
        """End all calls of *name* at once, and say how many."""
        ...

    def cut_where(self, refused: Callable[[Peer], bool]) -> int:
        """End all calls of those whom *refused* refuses, and say how many."""
        ...


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with all that its holder needs beside the key."""

    name: NodeName
    chain_pem: bytes
    anchors_pem: bytes
    generation: int


class Identities:
    """Issues certificates to whoever is in the mesh, checks those that come back, and ends those that must not."""

    def __init__(
        self,
        store: NodeStore,
        trust: Trust,
        clock: Clock,
        live: Calls,
        audit: Audit,
        *,
        leaf_lifetime: timedelta = profiles.LEAF_LIFETIME,
    ) -> None:
        self._store = store
        self._trust = trust
        self._clock = clock
        self._live = live
        self._audit = audit
        self._leaf_lifetime = leaf_lifetime
        self._nodes: dict[NodeName, NodeRecord] = {}
        self._revoked: frozenset[str] = frozenset()
        self._heard = 0
        self._peers: dict[bytes, Peer] = {}

    @property
    def anchors(self) -> tuple[x509.Certificate, ...]:
        """The roots that nodes are to trust, the one that tokens carry first."""
        return self._trust.anchors

    @property
    def anchors_pem(self) -> bytes:
        """The roots that nodes are to trust."""
        return pem.write(self._trust.anchors)

    @property
    def generation(self) -> int:
        """Which generation of the roots that is."""
        return self._trust.generation

    @property
    def clients_pem(self) -> bytes:
        """The authorities whose certificates count now."""
        return self._trust.clients_pem

    @property
    def catch_up_within_s(self) -> float:
        """In how many seconds nodes should take over what is new: those who hear it together spread over that."""
        return CATCH_UP_S * len(self._nodes)

    @property
    def nodes(self) -> tuple[NodeRecord, ...]:
        """Everybody who has ever had a certificate, by name."""
        return tuple(self._nodes[name] for name in sorted(self._nodes))

    def trust(self, trust: Trust) -> None:
        """Trust and sign with *trust* from now on; what counts no longer is cut by the next sweep."""
        self._trust = trust

    async def load(self) -> None:
        """Read who is in the mesh. Before anything else."""
        self._nodes = {node.identity.name: node for node in await self._store.nodes()}
        self._revoked = await self._store.revoked(self._now())

    async def adopt(self, chain: Chain) -> None:
        """Take in a node that was certified without a token: the admin that `pki init` makes."""
        self.know(await self._store.adopt(_certified(policy.identity_of(chain.leaf), chain), self._now()))

    async def reissue(self, key: ec.EllipticCurvePublicKey, identity: Identity) -> Issued:
        """Certify *identity* anew without a token or a certificate, for whoever holds the hub's own keys."""
        certified = self.certify(key, identity)
        self.know(await self._store.reissue(certified, self._now()))
        log.info("certificate issued anew", extra={"node": identity.name, "serial": certified.serial})
        self.note_certificate("cert.reissue", self._nodes[identity.name])
        return Issued(identity.name, certified.chain_pem, self.anchors_pem, self.generation)

    async def renew(self, peer: Peer, request_der: bytes, held_generation: int = 0) -> Issued:
        """Trade *peer*'s newest certificate for the next one; raise InvalidRequest or Unauthenticated.

        Whoever asks with an older one and a new key is a copy of the node, or the node after a thief: nobody can tell which,
        so both are locked out.
        """
        key = requested_key(request_der)
        asked = Asked(peer.serial_hex, key_digest(key), held_generation, self._now())
        node = await self._store.renew(
            peer.identity, asked, certify=lambda identity: self.certify(key, identity)
        )
        return self._renewed(node, peer.serial_hex)

    async def rejoin(
        self,
        request_der: bytes,
        serial: str,
        held_generation: int,
        check: Callable[[NodeRecord, bytes], None],
    ) -> Issued:
        """Renew for whoever has no certificate any more that TLS would take; *check* is what `NodeStore.rejoin` says.

        Raise InvalidRequest, Unauthenticated, and what *check* raises.
        """
        key = requested_key(request_der)
        asked = Asked(serial, key_digest(key), held_generation, self._now())
        node = await self._store.rejoin(
            asked, check=check, certify=lambda identity: self.certify(key, identity)
        )
        if node is None:
            raise Unauthenticated(REFUSED) from PeerRefused(Refusal.UNKNOWN_SERIAL)
        return self._renewed(node, serial)

    async def ack(self, peer: Peer, held_generation: int) -> None:
        """Keep which generation of the roots *peer* holds."""
        name = peer.identity.name
        if held_generation != self._nodes[name].bundle_generation:
            await self._store.ack(name, held_generation)
            self._audit.note("bundle.ack", node=name, generation=held_generation)
            self.know(replace(self._nodes[name], bundle_generation=held_generation))

    def should_renew(self, peer: Peer) -> bool:
        """Whether a certificate of *peer* is of an issuer that does not sign any more, and is about to go.

        That is the one that it shows, and its newest: a spoke that is moving to that still asks over its old connection.
        """
        newest = bundle.parse_chain(self._nodes[peer.identity.name].chain_pem).certificates[1]
        signing = policy.key_id(self._trust.issuer.certificate)
        return not peer.issuer == policy.key_id(newest) == signing

    async def revoke(self, name: str, by: str) -> NodeRecord:
        """End a node for good, and its calls at once; raise UnknownNode. Only a new token lets the name in again."""
        node, serials = await self._store.revoke(name, self._now())
        self.know(node)
        self._revoked |= serials
        calls = self._live.cut(node.identity.name)
        log.warning("node revoked", extra={"node": name, "calls": calls})
        self._audit.note("node.revoke", node=name, by=by, serials=len(serials), calls=calls)
        return node

    async def unlock(self, name: str, by: str) -> NodeRecord:
        """Let a locked node in again, with its newest certificate; raise UnknownNode, or InvalidRequest for another state."""
        node = await self._store.unlock(name, self._now())
        self.know(node)
        log.info("node unlocked", extra={"node": name})
        self._audit.note("node.unlock", node=name, by=by)
        return node

    async def sweep(self) -> None:
        """Hear what others have changed in the store, and cut the calls that were good when they began and are not now."""
        changes = await self._store.changes(self._heard)
        if changes:
            self._heard = changes[-1].number
            await self.load()
        if count := self._live.cut_where(self.refuses):
            log.warning("calls cut", extra={"calls": count})

    def refuses(self, peer: Peer) -> bool:
        """Whether *peer*, who was let in before, would not be let in now."""
        try:
            self._check(peer)
        except PeerRefused:
            return True
        return False

    def authenticate(self, leaf_pem: bytes) -> Peer:
        """Say who shows *leaf_pem*, which TLS has verified; raise Unauthenticated, the reason only as its cause.

        For every call: TLS checks a certificate once a connection, and connections outlive certificates.
        """
        try:
            peer = self._peers.get(leaf_pem) or self._remember(leaf_pem)
            self._check(peer)
        except PeerRefused as refused:
            raise Unauthenticated(REFUSED) from refused
        return peer

    # For admissions.

    def certify(self, key: ec.EllipticCurvePublicKey, identity: Identity) -> Certified:
        """Make a certificate; it counts once it is in the store."""
        issuer = self._trust.issuer
        chain = issuer.issue_node(key, identity, now=self._clock.now(), lifetime=self._leaf_lifetime)
        return _certified(identity, chain)

    def know(self, node: NodeRecord) -> None:
        """Go by what the store says of *node* from now on."""
        self._nodes[node.identity.name] = node

    def note_certificate(self, event: str, node: NodeRecord) -> None:
        """Put a new certificate of *node* into the audit log."""
        role, serial = node.identity.role.value, node.serial
        self._audit.note(event, node=node.identity.name, role=role, serial=serial, generation=node.generation)

    def issued(self, node: NodeRecord) -> Issued:
        """Give the newest certificate of *node* for its holder."""
        return Issued(node.identity.name, node.chain_pem, self.anchors_pem, self.generation)

    def _renewed(self, node: NodeRecord, serial: str) -> Issued:
        self.know(node)
        if node.state is not NodeState.ACTIVE:
            name = node.identity.name
            calls = self._live.cut(name)
            log.error("node locked", extra={"node": name, "why": explained(node), "calls": calls})
            self._audit.note("renew.generation_mismatch", node=name, serial=serial, newest=node.serial)
            self._audit.note("node.lock", node=name, calls=calls, why=node.why)
            raise Unauthenticated(REFUSED)
        log.info("certificate renewed", extra={"node": node.identity.name, "serial": node.serial})
        self.note_certificate("cert.renew", node)
        return self.issued(node)

    def _check(self, peer: Peer) -> None:
        policy.check_current(peer, issuers=self._trust.node_issuers, now=self._clock.now())
        node = self._nodes.get(peer.identity.name)
        if node is None or node.identity.role is not peer.identity.role:
            raise PeerRefused(Refusal.NOT_A_NODE)
        if node.state is not NodeState.ACTIVE:
            raise PeerRefused(Refusal.LOCKED if node.state is NodeState.LOCKED else Refusal.NODE_REVOKED)
        if peer.serial_hex in self._revoked:
            raise PeerRefused(Refusal.REVOKED)

    def _remember(self, leaf_pem: bytes) -> Peer:
        peer = policy.read_leaf(leaf_pem)
        if len(self._peers) >= PEERS_CACHED_MAX:
            self._peers.clear()  # rarer than the renewals that fill it, so nothing finer pays
        self._peers[leaf_pem] = peer
        return peer

    def _now(self) -> float:
        return self._clock.now().timestamp()


def explained(node: NodeRecord) -> str:
    """Say why *node* is in its state, and of one that is locked what lets it in again."""
    if node.state is not NodeState.LOCKED:
        return node.why
    name, role = node.identity.name, node.identity.role
    if node.why == UNRECORDED:
        # Unlocked, it would be locked again with its next request.
        mend = f"`hubspoke revoke {name}`, `hubspoke token create {name} --role {role}`, and join with `--replace`"
    else:
        mend = f"if it is known why, `hubspoke nodes unlock {name}` lets it in again"
    return f"{node.why}; {mend}"


def requested_key(request_der: bytes) -> ec.EllipticCurvePublicKey:
    """Give the key that a certificate is asked for; raise InvalidRequest for a request that asks for more."""
    try:
        return policy.check_csr(request_der)
    except BadCsr as error:
        raise InvalidRequest(str(error)) from error


def _certified(identity: Identity, chain: Chain) -> Certified:
    key = chain.leaf.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)  # noqa: S101  # our own issuer signs no other
    return Certified(
        identity=identity,
        serial=policy.serial_hex(chain.leaf),
        public_key=public_bytes(key),
        chain_pem=chain.pem,
        expires_at=chain.leaf.not_valid_after_utc.timestamp(),
    )
