"""The first keys of a mesh, those of further hubs, and the certificates that a hub renews for itself.

`initialise` is all of `hubspoke pki init`. The `renew_*` functions need no root key, so the root's may be
moved offline at once.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives import hashes

from pki import bundle, disk, pem, profiles
from pki.address import Host
from pki.authority import HubIssuer, NodeIssuer, Root, create_root
from pki.authority_files import HUB_ISSUING, NODE_ISSUING, ROOT, AuthorityFiles
from pki.credential import Credential, StoredIdentity
from pki.errors import AlreadyInitialised, BadIdentity, NoSuchStep
from pki.files import HubAddresses, HubFiles, NodeFiles
from pki.identity import Identity, NodeName, Role
from pki.keys import new_key
from pki.profiles import Lifetimes
from pki.rotation import Record, in_use

_USUAL = Lifetimes()


@dataclass(frozen=True, slots=True)
class Plan:
    """What there is to choose about a new mesh."""

    hub_id: NodeName
    admin_name: NodeName
    hosts: tuple[Host, ...]
    addresses: HubAddresses
    lifetimes: Lifetimes = _USUAL


@dataclass(frozen=True, slots=True)
class Summary:
    """What `initialise` made."""

    root_fingerprint: str
    root_not_after: datetime
    hub: StoredIdentity
    admin: StoredIdentity
    gateway_not_after: datetime
    hosts: tuple[Host, ...]


@dataclass(frozen=True, slots=True)
class _Authorities:
    root: Root
    hub: HubIssuer
    node: NodeIssuer


def initialise(
    hub: HubFiles, admin: NodeFiles, plan: Plan, *, passphrase: bytes | None, now: datetime
) -> Summary:
    """Make the authorities of a new mesh, the hub's certificates and the first admin's identity.

    The root's key is encrypted if there is a *passphrase*. The authorities' directory appears last and
    at once: until then the mesh does not exist, and running this again after a crash begins afresh.
    Raises `AlreadyInitialised`, `WeakPassphrase`, or `BadAddress` for a host that no gateway may have.
    """
    require_free(hub, admin)
    made = _create_authorities(plan.lifetimes, now)
    gateway = _gateway_credential(made.hub, plan.hosts, now=now, lifetime=plan.lifetimes.gateway)
    own = _hub_credential(made.hub, plan.hub_id, now=now, lifetime=plan.lifetimes.leaf)
    anchors_pem = pem.write((made.root.certificate,))

    disk.make_directory(hub.directory)
    admin_credential = _admin_credential(made.node, plan, now)
    staged = _stage(hub, made, admin_credential, passphrase)
    disk.replace(hub.anchors, anchors_pem, mode=disk.PUBLIC_MODE)
    hub.save_identity(own)
    hub.save_gateway(gateway)
    admin.save_addresses(plan.addresses)
    admin_identity = admin.save(admin_credential, anchors_pem, generation=1)
    staged.rename(hub.authorities.directory)
    disk.sync_directory(hub.directory)
    return Summary(
        root_fingerprint=made.root.certificate.fingerprint(hashes.SHA256()).hex(),
        root_not_after=made.root.certificate.not_valid_after_utc,
        hub=StoredIdentity.of(own),
        admin=admin_identity,
        gateway_not_after=gateway.not_after,
        hosts=plan.hosts,
    )


def add_hub(
    hub: HubFiles, other: HubFiles, hub_id: NodeName, hosts: Sequence[Host], *, now: datetime
) -> StoredIdentity:
    """Make the files of one more hub of the same mesh, for a machine that is called *hosts*.

    It gets what signs hubs and nodes, and never the root's key. Raises `AlreadyInitialised`, `BadIdentity` for the name of
    this hub, `BadAddress`, and `NoSuchStep` while authorities are being exchanged.
    """
    if other.directory.exists():
        raise AlreadyInitialised(f"there is a {other.directory}")
    if hub.load_identity().identity.name == hub_id:
        raise BadIdentity(f"{hub_id} is this hub's own name: give the other one another")
    with hub.authorities.alone():
        own = _write_hub(hub, other, hub_id, hosts, now)
    return StoredIdentity.of(own)


def _write_hub(
    hub: HubFiles, other: HubFiles, hub_id: NodeName, hosts: Sequence[Host], now: datetime
) -> Credential:
    record = hub.authorities.load_record()
    if record.rotation is not None:
        raise NoSuchStep(
            f"{record.rotation.kind} is being exchanged, and the other hub would not hear how that ends: finish it first"
        )
    issuer = hub.authorities.load_hub_issuer()
    own = _hub_credential(issuer, hub_id, now=now, lifetime=profiles.LEAF_LIFETIME)
    gateway = _gateway_credential(issuer, hosts, now=now, lifetime=profiles.GATEWAY_LIFETIME)
    disk.make_directory(other.directory)
    staged = other.directory / ".pki.new"
    disk.make_directory(staged)
    hub.authorities.copy_to(staged)
    disk.sync_directory(staged)
    other.save_identity(own)
    other.save_gateway(gateway)
    staged.rename(other.authorities.directory)
    disk.sync_directory(other.directory)
    other.save_anchors()
    return own


def renew_hub(
    hub: HubFiles, *, now: datetime, lifetime: timedelta = profiles.LEAF_LIFETIME
) -> StoredIdentity:
    """Give the hub a fresh key and certificate for the mesh and enrol ports."""
    issuer = hub.authorities.load_hub_issuer()
    hub_id = hub.load_identity().identity.name
    credential = _hub_credential(issuer, hub_id, now=now, lifetime=lifetime)
    hub.save_identity(credential)
    return StoredIdentity.of(credential)


def renew_gateway(
    hub: HubFiles,
    hosts: Sequence[str],
    *,
    now: datetime,
    lifetime: timedelta = profiles.GATEWAY_LIFETIME,
) -> Credential:
    """Give the HTTP gateway a fresh key and certificate for *hosts*, or raise `BadAddress`."""
    issuer = hub.authorities.load_hub_issuer()
    credential = _gateway_credential(issuer, hosts, now=now, lifetime=lifetime)
    hub.save_gateway(credential)
    return credential


def is_issuer_in_use(hub: HubFiles, chain_pem: bytes) -> bool:
    """Say whether what signs hubs now has signed the leaf of *chain_pem*."""
    return bundle.parse_chain(chain_pem).certificates[1:] == (hub.authorities.load_certificate(HUB_ISSUING),)


def require_hub_issuer(hub: HubFiles, record: Record, *, now: datetime) -> None:
    """Raise a PkiError unless what signs hubs by *record* can do so now, and those who hold its roots would believe it."""
    issuer = hub.authorities.load_hub_issuer(in_use(record).hub_issuer)
    credential = _hub_credential(
        issuer, hub.load_identity().identity.name, now=now, lifetime=profiles.LEAF_LIFETIME
    )
    bundle.require_anchored(credential.chain, hub.authorities.load_roots(record)[:1])


def require_free(hub: HubFiles, admin: NodeFiles) -> None:
    """Raise `AlreadyInitialised` where `initialise` would."""
    if hub.authorities.directory.exists():
        raise AlreadyInitialised(f"there are keys in {hub.authorities.directory}")
    if admin.identity.exists() and not _is_of_no_mesh(hub, admin):
        raise AlreadyInitialised(f"there is an identity in {admin.directory}")


def _is_of_no_mesh(hub: HubFiles, admin: NodeFiles) -> bool:
    """Say whether the admin's anchors are those that this hub, which has no authorities, left behind.

    A crash of `initialise` leaves that, and so does whoever moves the authorities away to begin again.
    """
    if not (hub.anchors.exists() and admin.anchors.exists()):
        return False
    return disk.read_public(hub.anchors) == disk.read_public(admin.anchors)


def _create_authorities(lifetimes: Lifetimes, now: datetime) -> _Authorities:
    root = create_root(now=now, lifetime=lifetimes.root)
    return _Authorities(
        root=root,
        hub=root.create_hub_issuer(now=now, lifetime=lifetimes.issuing),
        node=root.create_node_issuer(now=now, lifetime=lifetimes.issuing),
    )


def _stage(hub: HubFiles, made: _Authorities, admin: Credential, passphrase: bytes | None) -> Path:
    """Write the authorities beside their place, and say where."""
    staged = hub.directory / ".pki.new"
    if staged.exists():
        shutil.rmtree(staged)  # An earlier run died here; nothing was ever signed for anybody.
    disk.make_directory(staged)
    files = AuthorityFiles(staged)
    files.save(ROOT, made.root, passphrase=passphrase)
    files.save(HUB_ISSUING, made.hub)
    files.save(NODE_ISSUING, made.node)
    files.save_admin(admin.chain)
    disk.sync_directory(staged)
    return staged


def _hub_credential(issuer: HubIssuer, hub_id: NodeName, *, now: datetime, lifetime: timedelta) -> Credential:
    key = new_key()
    return Credential(key, issuer.issue_hub(key.public_key(), hub_id, now=now, lifetime=lifetime))


def _gateway_credential(
    issuer: HubIssuer, hosts: Sequence[str], *, now: datetime, lifetime: timedelta
) -> Credential:
    key = new_key()
    return Credential(key, issuer.issue_gateway(key.public_key(), hosts, now=now, lifetime=lifetime))


def _admin_credential(issuer: NodeIssuer, plan: Plan, now: datetime) -> Credential:
    key = new_key()
    identity = Identity(Role.ADMIN, plan.admin_name)
    lifetime = plan.lifetimes.leaf
    return Credential(key, issuer.issue_node(key.public_key(), identity, now=now, lifetime=lifetime))
