"""Where keys and certificates lie on disk.

    hub/                        one per hub              <node>/       one per identity
    ├── pki/                    authorities              ├── identity.pem   key, leaf, chain
    ├── identity.pem            key, leaf, chain         ├── next.key       asked for, not yet certified
    ├── gateway.pem             key, leaf, chain         ├── anchors.pem    whom to trust
    ├── anchors.pem             what nodes trust         ├── generation     which anchors those are
    └── state.db                                         ├── hub.json       where the hubs are
                                                         └── join.token     while it waits to be let in

What is in `pki/` stands in `pki.authority_files`.

Files with a key have mode 0600, the others 0644. Key and certificate are one file, so that they change
together. What is missing or damaged raises `NotInitialised`, `NotEnrolled`, `BadKey` or `BadBundle`, and
a key that others can reach `UnsafeKeyFile`; the messages name the file.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from pki import bundle, disk, keys, pem
from pki.address import Address, parse_address
from pki.authority_files import AuthorityFiles, naming
from pki.credential import Credential, StoredIdentity
from pki.errors import BadAddress, BadBundle, NotEnrolled
from pki.keys import PrivateKey


@dataclass(frozen=True, slots=True)
class HubFiles:
    """A hub's directory."""

    directory: Path

    @property
    def authorities(self) -> AuthorityFiles:
        """What signs certificates."""
        return AuthorityFiles(self.directory / "pki")

    @property
    def identity(self) -> Path:
        """The hub's key and chain for the mesh and enrol ports."""
        return self.directory / "identity.pem"

    @property
    def gateway(self) -> Path:
        """The HTTP gateway's key and chain, in the form that `ssl.SSLContext.load_cert_chain` takes."""
        return self.directory / "gateway.pem"

    @property
    def anchors(self) -> Path:
        """The roots that nodes are to trust, for people and their programs."""
        return self.directory / "anchors.pem"

    @property
    def state(self) -> Path:
        """The hub's database."""
        return self.directory / "state.db"

    def require_private(self) -> None:
        """Raise `UnsafeKeyFile` when others could read or replace a key, whether or not it is needed now."""
        for directory in (self.directory, self.authorities.directory):
            disk.require_own_directory(directory)
        keys_here = sorted(self.authorities.directory.glob("*.key"))
        for path in (*keys_here, self.identity, self.gateway, self.state):
            disk.require_own(path)

    def load_identity(self) -> StoredIdentity:
        """Read who this hub is."""
        self.authorities.require()
        with naming(self.identity):
            return StoredIdentity.of(Credential.parse(disk.read_secret(self.identity)))

    def save_identity(self, credential: Credential) -> None:
        """Replace the hub's key and chain."""
        disk.replace(self.identity, credential.pem, mode=disk.SECRET_MODE)

    def load_gateway(self) -> Credential:
        """Read the HTTP gateway's key and chain."""
        self.authorities.require()
        with naming(self.gateway):
            return Credential.parse(disk.read_secret(self.gateway))

    def save_gateway(self, credential: Credential) -> None:
        """Replace the HTTP gateway's key and chain."""
        disk.replace(self.gateway, credential.pem, mode=disk.SECRET_MODE)

    def load_anchors(self, *, now: datetime) -> tuple[x509.Certificate, ...]:
        """Read the roots that nodes are to trust and that count at *now*, the one in use first."""
        return bundle.parse_anchors(pem.write(self.authorities.load_roots()), now=now)

    def save_anchors(self) -> None:
        """Write the roots that nodes are to trust where people find them."""
        disk.replace(self.anchors, pem.write(self.authorities.load_roots()), mode=disk.PUBLIC_MODE)


@dataclass(frozen=True, slots=True)
class HubAddresses:
    """Where the hubs are: the mesh port for work, the enrol port to come back after a long absence."""

    mesh: tuple[Address, ...]
    enrol: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class NodeFiles:
    """The directory of one identity: a spoke's, an app's or a person's."""

    directory: Path

    @property
    def identity(self) -> Path:
        """The key and the chain in use."""
        return self.directory / "identity.pem"

    @property
    def next_key(self) -> Path:
        """The key that a certificate was asked for and has not come for yet."""
        return self.directory / "next.key"

    @property
    def anchors(self) -> Path:
        """Whom this node trusts."""
        return self.directory / "anchors.pem"

    @property
    def hub(self) -> Path:
        """Where the hubs are."""
        return self.directory / "hub.json"

    @property
    def generation(self) -> Path:
        """Which generation of the anchors this node holds."""
        return self.directory / "generation"

    @property
    def token(self) -> Path:
        """The join token that was used and has not brought a certificate yet."""
        return self.directory / "join.token"

    def load_identity(self) -> StoredIdentity:
        """Read who this node is."""
        if not self.identity.exists():
            raise NotEnrolled(f"there is no identity in {self.directory}")
        disk.require_own_directory(self.directory)
        with naming(self.identity):
            return StoredIdentity.of(Credential.parse(disk.read_secret(self.identity)))

    def load_anchors(self, *, now: datetime) -> tuple[x509.Certificate, ...]:
        """Read whom this node trusts at *now*."""
        with naming(self.anchors):
            return bundle.parse_anchors(disk.read_public(self.anchors), now=now)

    def load_addresses(self) -> HubAddresses:
        """Read where the hubs are."""
        with naming(self.hub):
            return _parse_addresses(disk.read_public(self.hub))

    def save_addresses(self, addresses: HubAddresses) -> None:
        """Replace where the hubs are."""
        disk.make_directory(self.directory)
        text = json.dumps(asdict(addresses), indent=2) + "\n"
        disk.replace(self.hub, text.encode(), mode=disk.PUBLIC_MODE)

    def begin_joining(self, token_text: str) -> PrivateKey:
        """Keep *token_text* while it is being used, and return the key to use it with.

        After a crash it is the same key again, as long as it is the same token: the hub takes another key for somebody
        else's.
        """
        disk.make_directory(self.directory)
        if self.load_token() != token_text:
            self.end_joining()
            disk.replace(self.token, token_text.encode(), mode=disk.SECRET_MODE)
        return self.request_key()

    def load_token(self) -> str | None:
        """Read the token of a join that has not come to its end, if there is one."""
        try:
            return disk.read_secret(self.token).decode("ascii", errors="replace")
        except FileNotFoundError:
            return None

    def end_joining(self) -> None:
        """Forget a join that is over, with its key."""
        self.token.unlink(
            missing_ok=True
        )  # first: a key that is in use already is not asked for again, a token would be
        self.next_key.unlink(missing_ok=True)

    def load_generation(self) -> int:
        """Read which generation of the anchors this node holds; 0 when that is not known."""
        try:
            return int(disk.read_public(self.generation))
        except (FileNotFoundError, ValueError):
            return 0

    def request_key(self) -> PrivateKey:
        """Return the key to ask a certificate for; it is on disk before anybody hears of it.

        A key whose certificate never arrived is asked for again: the hub answers the same key with the
        same certificate, and takes a different one for a thief's. Two processes get the same one.
        """
        disk.make_directory(self.directory)
        with self._alone():
            if self.next_key.exists() and not self._is_in_use(pending := self._load_next_key()):
                return pending
            key = keys.new_key()
            disk.replace(self.next_key, keys.key_to_pem(key), mode=disk.SECRET_MODE)
            return key

    def adopt(
        self, chain_pem: bytes, anchors_pem: bytes, *, now: datetime, generation: int = 0
    ) -> StoredIdentity:
        """Take the certificate that came for `request_key` into use, and return it.

        Raises `BadBundle` or `BadKey`, and leaves everything as it was, unless the chain is whole,
        belongs to the key and ends at the anchors. What another process has adopted before stays.
        """
        chain = bundle.parse_chain(chain_pem)
        bundle.require_anchored(chain, bundle.parse_anchors(anchors_pem, now=now))
        with self._alone():
            if self.identity.exists() and (stored := self.load_identity()).chain_pem == chain.pem:
                return stored
            return self._save(Credential(self._load_next_key(), chain), anchors_pem, generation)

    def save(self, credential: Credential, anchors_pem: bytes, generation: int = 0) -> StoredIdentity:
        """Replace identity and anchors; a crash on the way leaves a node that can go on."""
        disk.make_directory(self.directory)
        with self._alone():
            return self._save(credential, anchors_pem, generation)

    def save_anchors(self, anchors_pem: bytes, generation: int, *, now: datetime) -> None:
        """Replace the anchors, and say which generation that is; or raise `BadBundle` for what is no anchors."""
        bundle.parse_anchors(anchors_pem, now=now)
        with self._alone():
            self._save_anchors(anchors_pem, generation)

    def _save(self, credential: Credential, anchors_pem: bytes, generation: int) -> StoredIdentity:
        identity = StoredIdentity.of(credential)
        self._save_anchors(anchors_pem, generation)
        disk.replace(self.identity, credential.pem, mode=disk.SECRET_MODE)
        self.end_joining()
        return identity

    def _save_anchors(self, anchors_pem: bytes, generation: int) -> None:
        disk.replace(self.anchors, anchors_pem, mode=disk.PUBLIC_MODE)
        # Last: a crash before it leaves a node that says less than it has, which only brings the same again.
        disk.replace(self.generation, b"%d\n" % generation, mode=disk.PUBLIC_MODE)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one process at a time in. The system lets go when a process dies, however that comes."""
        descriptor = disk.open_own(self.directory / ".lock")
        try:
            with disk.locked(descriptor):
                yield
        finally:
            os.close(descriptor)

    def _load_next_key(self) -> PrivateKey:
        with naming(self.next_key):
            return keys.key_from_pem(disk.read_secret(self.next_key))

    def _is_in_use(self, key: PrivateKey) -> bool:
        """Say whether *key* is the identity's: what a crash in `save` leaves, and not to be asked for again."""
        return self.identity.exists() and self.load_identity().key_pem == keys.key_to_pem(key)


def _parse_addresses(text: bytes) -> HubAddresses:
    try:
        lists = json.loads(text)
        return HubAddresses(mesh=_address_list(lists["mesh"]), enrol=_address_list(lists["enrol"]))
    except (ValueError, KeyError, TypeError, BadAddress) as error:
        raise BadBundle("the hub's addresses are damaged") from error


def _address_list(items: object) -> tuple[Address, ...]:
    if not isinstance(items, list):
        raise TypeError("addresses are a list")
    return tuple(parse_address(str(item)) for item in items)
