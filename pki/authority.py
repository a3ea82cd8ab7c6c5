"""The certificate authorities: a root, what signs servers, and what signs clients.

    root                 10 years, its key encrypted and movable offline
    ├── hub-issuing      5 years, serverAuth: hubs and their gateways
    └── node-issuing     5 years, clientAuth: spokes, apps and admins

The two issuers are two types, so that no code path can sign a node with the hub's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from pki import profiles
from pki.bundle import Chain
from pki.errors import BadKey
from pki.identity import Identity, NodeName
from pki.keys import PrivateKey, PublicKey, new_key
from pki.profiles import Profile


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate that signs others, and its key.

    Raises `BadKey` for a key that is not the certificate's.
    """

    key: PrivateKey
    certificate: x509.Certificate

    def __post_init__(self) -> None:
        if self.key.public_key() != self.certificate.public_key():
            raise BadKey("the private key does not belong to the certificate")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(key=..., certificate={self.certificate.subject.rfc4514_string()!r})"


class Root(Authority):
    """What everybody in the mesh trusts in the end."""

    __slots__ = ()

    def create_hub_issuer(
        self, *, now: datetime, lifetime: timedelta = profiles.ISSUING_LIFETIME
    ) -> "HubIssuer":
        """Make what signs servers."""
        key = new_key()
        profile = profiles.hub_issuing(key.public_key())
        return HubIssuer(key, _issue(self, profile, key.public_key(), now=now, lifetime=lifetime))

    def create_node_issuer(
        self, *, now: datetime, lifetime: timedelta = profiles.ISSUING_LIFETIME
    ) -> "NodeIssuer":
        """Make what signs clients."""
        key = new_key()
        profile = profiles.node_issuing(key.public_key())
        return NodeIssuer(key, _issue(self, profile, key.public_key(), now=now, lifetime=lifetime))


class HubIssuer(Authority):
    """What signs servers."""

    __slots__ = ()

    def issue_hub(
        self, key: PublicKey, hub_id: NodeName, *, now: datetime, lifetime: timedelta = profiles.LEAF_LIFETIME
    ) -> Chain:
        """Certify *key* as the hub *hub_id*, for the mesh and enrol ports."""
        return _chain(self, profiles.hub(hub_id), key, now=now, lifetime=lifetime)

    def issue_gateway(
        self,
        key: PublicKey,
        hosts: Sequence[str],
        *,
        now: datetime,
        lifetime: timedelta = profiles.GATEWAY_LIFETIME,
    ) -> Chain:
        """Certify *key* as the HTTP gateway at *hosts*, names or IP addresses; or raise `BadAddress`."""
        return _chain(self, profiles.gateway(hosts), key, now=now, lifetime=lifetime)


class NodeIssuer(Authority):
    """What signs clients."""

    __slots__ = ()

    def issue_node(
        self,
        key: PublicKey,
        identity: Identity,
        *,
        now: datetime,
        lifetime: timedelta = profiles.LEAF_LIFETIME,
    ) -> Chain:
        """Certify *key* as *identity*, or raise `BadIdentity` for a hub's."""
        return _chain(self, profiles.node(identity), key, now=now, lifetime=lifetime)


def create_root(*, now: datetime, lifetime: timedelta = profiles.ROOT_LIFETIME) -> Root:
    """Begin a mesh: make a root that signs itself."""
    key = new_key()
    profile = profiles.root(key.public_key())
    certificate = profiles.unsigned(
        profile,
        profiles.validity(now, lifetime),
        serial=x509.random_serial_number(),
        key=key.public_key(),
        issuer=profile.subject,
        issuer_key=key.public_key(),
    ).sign(key, hashes.SHA256())
    return Root(key, certificate)


def _chain(
    issuer: Authority, profile: Profile, key: PublicKey, *, now: datetime, lifetime: timedelta
) -> Chain:
    return Chain((_issue(issuer, profile, key, now=now, lifetime=lifetime), issuer.certificate))


def _issue(
    issuer: Authority, profile: Profile, key: PublicKey, *, now: datetime, lifetime: timedelta
) -> x509.Certificate:
    """Sign *key* into a certificate that ends with its issuer at the latest, or raise `IssuerExpired`."""
    span = profiles.validity(now, lifetime, issuer_ends_at=issuer.certificate.not_valid_after_utc)
    return profiles.unsigned(
        profile,
        span,
        serial=x509.random_serial_number(),
        key=key,
        issuer=issuer.certificate.subject,
        issuer_key=issuer.key.public_key(),
    ).sign(issuer.key, hashes.SHA256())
