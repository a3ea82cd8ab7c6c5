"""Who may be in the mesh: join tokens, certificates, and what a certificate is worth right now."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from hub.store.mesh import Certified
from hubspoke.errors import InvalidRequest, Unauthenticated
from pki import pem, policy, profiles
from pki.errors import BadAddress, BadCsr, BadIdentity, PeerRefused
from pki.identity import Identity, NodeName, Role, node_name
from pki.keys import key_digest
from pki.tokens import JoinToken, secret_hash

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from hub.store.mesh import Store
    from hubspoke.clock import Clock
    from pki.address import Address
    from pki.authority import NodeIssuer
    from pki.bundle import Chain
    from pki.policy import Peer

log = logging.getLogger(__name__)

TOKEN_LIFETIME_DEFAULT: Final = timedelta(minutes=10)
TOKEN_LIFETIME_MAX: Final = timedelta(hours=24)
PEERS_CACHED_MAX: Final = 4_096

REFUSED: Final = "this identity is not accepted; join again with a new token"
"""All that a refused caller is told. The reason is in the hub's log."""


@dataclass(frozen=True, slots=True)
class NewToken:
    """A join token, shown once, and when it ends."""

    text: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"NewToken(text=..., expires_at={self.expires_at!r})"


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with all that its holder needs beside the key."""

    name: str
    chain_pem: bytes
    anchors_pem: bytes


class Identities:
    """Issues certificates to whoever has a token or a certificate, and checks those that come back."""

    def __init__(
        self,
        store: Store,
        issuer: NodeIssuer,
        anchors: Sequence[x509.Certificate],
        clock: Clock,
        *,
        leaf_lifetime: timedelta = profiles.LEAF_LIFETIME,
    ) -> None:
        self._store = store
        self._issuer = issuer
        self._issuers = frozenset({policy.key_id(issuer.certificate)})
        self._anchors = tuple(anchors)
        self._clock = clock
        self._leaf_lifetime = leaf_lifetime
        self._roles: dict[NodeName, Role] = {}
        self._peers: dict[bytes, Peer] = {}

    @property
    def anchors_pem(self) -> bytes:
        """The roots that nodes are to trust."""
        return pem.write(self._anchors)

    @property
    def issuer_pem(self) -> bytes:
        """The only authority that the mesh port takes client certificates from."""
        return pem.write((self._issuer.certificate,))

    async def load(self) -> None:
        """Read who is in the mesh. Before anything else."""
        self._roles.update(await self._store.nodes())

    async def adopt(self, chain: Chain) -> None:
        """Take in a node that was certified without a token: the admin that `pki init` makes."""
        certified = _certified(policy.identity_of(chain.leaf), chain)
        await self._store.adopt(certified)
        self._roles.setdefault(certified.identity.name, certified.identity.role)

    async def reissue(self, key: ec.EllipticCurvePublicKey, identity: Identity) -> Issued:
        """Certify *identity* anew without a token or a certificate, for whoever holds the hub's own keys."""
        certified = self._certify(key, identity)
        await self._store.reissue(certified)
        log.info("certificate issued anew", extra={"node": identity.name, "serial": certified.serial})
        return Issued(identity.name, certified.chain_pem, self.anchors_pem)

    async def create_token(
        self, name: str, role: Role, lifetime: timedelta | None, addresses: Sequence[Address]
    ) -> NewToken:
        """Make a one-use token for *name*; raise InvalidRequest or AlreadyEnrolled when that cannot be."""
        if role is Role.HUB:
            raise InvalidRequest(
                "a token can make a spoke, an app or an admin; hubs are made by `hubspoke pki init`"
            )
        lifetime = TOKEN_LIFETIME_DEFAULT if lifetime is None else lifetime
        if not timedelta(0) < lifetime <= TOKEN_LIFETIME_MAX:
            raise InvalidRequest(f"a token can live for more than 0 and at most {TOKEN_LIFETIME_MAX}")
        try:
            identity = Identity(role, node_name(name))
        except BadIdentity as error:
            raise InvalidRequest(str(error)) from error
        token = self._mint(addresses)
        now = self._clock.now()
        expires_at = now + lifetime
        await self._store.add_token(
            token.id,
            secret_hash(token.secret),
            identity,
            now=now.timestamp(),
            expires_at=expires_at.timestamp(),
        )
        log.info("token created", extra={"token": token.id, "name_for": name, "role": role.value})
        return NewToken(token.text, expires_at)

    async def join(self, token_id: str, secret: bytes, request_der: bytes) -> Issued:
        """Trade a token for a first certificate; raise InvalidRequest, Unauthenticated or AlreadyEnrolled."""
        key = _requested_key(request_der)
        certified = await self._store.redeem(
            token_id,
            secret_hash(secret),
            key_digest(key),
            now=self._clock.now().timestamp(),
            certify=lambda identity: self._certify(key, identity),
        )
        self._roles[certified.identity.name] = certified.identity.role
        log.info(
            "node joined", extra={"node": certified.identity.name, "role": certified.identity.role.value}
        )
        return Issued(certified.identity.name, certified.chain_pem, self.anchors_pem)

    async def renew(self, peer: Peer, request_der: bytes) -> Issued:
        """Trade *peer*'s newest certificate for the next one; raise InvalidRequest or Unauthenticated."""
        key = _requested_key(request_der)
        certified = await self._store.renew(
            peer.identity,
            peer.serial_hex,
            key_digest(key),
            certify=lambda identity: self._certify(key, identity),
        )
        log.info("certificate renewed", extra={"node": peer.identity.name, "serial": certified.serial})
        return Issued(peer.identity.name, certified.chain_pem, self.anchors_pem)

    def authenticate(self, leaf_pem: bytes) -> Peer:
        """Say who shows *leaf_pem*, which TLS has verified; raise Unauthenticated, the reason only in the log.

        For every call: TLS checks a certificate once a connection, and connections outlive certificates.
        """
        try:
            peer = self._peers.get(leaf_pem) or self._remember(leaf_pem)
            policy.check_current(peer, issuers=self._issuers, now=self._clock.now())
        except PeerRefused as refused:
            log.warning("peer refused", extra={"why": refused.reason.value})
            raise Unauthenticated(REFUSED) from refused
        if self._roles.get(peer.identity.name) is not peer.identity.role:
            log.warning("peer refused", extra={"why": "not in the registry", "identity": peer.identity.uri})
            raise Unauthenticated(REFUSED)
        return peer

    def _mint(self, addresses: Sequence[Address]) -> JoinToken:
        """Make a token with as many of *addresses* as one pasted line holds, the best ones."""
        for count in range(len(addresses), 0, -1):
            with suppress(BadAddress):
                return JoinToken.mint(self._anchors[0], addresses[:count])
        raise InvalidRequest(
            "the hub has no address that a token could hold; set hub.advertise to a short one"
        )

    def _remember(self, leaf_pem: bytes) -> Peer:
        peer = policy.read_peer(x509.load_pem_x509_certificate(leaf_pem))
        if len(self._peers) >= PEERS_CACHED_MAX:
            self._peers.clear()  # rarer than the renewals that fill it, so nothing finer pays
        self._peers[leaf_pem] = peer
        return peer

    def _certify(self, key: ec.EllipticCurvePublicKey, identity: Identity) -> Certified:
        chain = self._issuer.issue_node(key, identity, now=self._clock.now(), lifetime=self._leaf_lifetime)
        return _certified(identity, chain)


def _certified(identity: Identity, chain: Chain) -> Certified:
    key = chain.leaf.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)  # noqa: S101  # our own issuer signs no other
    return Certified(
        identity=identity,
        serial=policy.serial_hex(chain.leaf),
        key_digest=key_digest(key),
        chain_pem=chain.pem,
        expires_at=chain.leaf.not_valid_after_utc.timestamp(),
    )


def _requested_key(request_der: bytes) -> ec.EllipticCurvePublicKey:
    try:
        return policy.check_csr(request_der)
    except BadCsr as error:
        raise InvalidRequest(str(error)) from error
