"""A hub's authorities on disk: their keys and certificates, and which of them are in use.

    pki/
    ├── root.key, root.pem                   the key may be elsewhere
    ├── hub-issuing.key, hub-issuing.pem
    ├── node-issuing.key, node-issuing.pem
    ├── rotation.json                        which are in use, once any was exchanged
    └── admin.pem                            the first admin's chain

An authority that takes the place of another gets a number: `node-issuing-2.key`. No file of an authority is ever
changed, and an exchange goes on by the replacement of `rotation.json` alone, so that a crash at any moment leaves either
the phase before or the one after.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from pki import bundle, disk, keys, pem
from pki.authority import Authority, HubIssuer, NodeIssuer, Root
from pki.bundle import Chain
from pki.errors import BadBundle, BadIdentity, BadKey, NotInitialised, RootKeyMissing, WrongPassphrase
from pki.keys import PrivateKey
from pki.rotation import Kind, Numbers, Phase, Record, Rotation, in_use

ROOT: Final = "root"
HUB_ISSUING: Final = "hub-issuing"
NODE_ISSUING: Final = "node-issuing"
ADMIN: Final = "admin"


@dataclass(frozen=True, slots=True)
class AuthorityFiles:
    """The directory of a hub's authorities. It exists if and only if the hub is initialised."""

    directory: Path

    def key(self, name: str, number: int | None = None) -> Path:
        """Say where the key of the authority *name* is, of the one in use unless a *number* is given."""
        return self.directory / f"{self._stem(name, number)}.key"

    def certificate(self, name: str, number: int | None = None) -> Path:
        """Say where the certificate of the authority *name* is, as `key` does."""
        return self.directory / f"{self._stem(name, number)}.pem"

    def save(self, name: str, authority: Authority, *, passphrase: bytes | None = None) -> None:
        """Write a new authority; FileExistsError rather than overwrite one."""
        key_pem = keys.key_to_pem(authority.key, passphrase)
        disk.create(self.key(name), key_pem, mode=disk.SECRET_MODE)
        disk.create(self.certificate(name), pem.write((authority.certificate,)), mode=disk.PUBLIC_MODE)

    def stage(self, name: str, number: int, authority: Authority, *, passphrase: bytes | None = None) -> None:
        """Write an authority that is not in use yet, over what an earlier try has left."""
        key_pem = keys.key_to_pem(authority.key, passphrase)
        disk.replace(self.key(name, number), key_pem, mode=disk.SECRET_MODE)
        certificate_pem = pem.write((authority.certificate,))
        disk.replace(self.certificate(name, number), certificate_pem, mode=disk.PUBLIC_MODE)

    def load_root(self, passphrase: bytes | None, key_file: Path | None = None) -> Root:
        """Read the root, its key from *key_file* if that is given. Also raises `WrongPassphrase` and `RootKeyMissing`."""
        certificate = self.load_certificate(ROOT)
        path = key_file or self.key(ROOT)
        if not path.exists():
            raise RootKeyMissing(f"there is no {path}")
        with naming(path):
            return Root(keys.key_from_pem(disk.read_secret(path), passphrase), certificate)

    def load_hub_issuer(self, number: int | None = None) -> HubIssuer:
        """Read what signs servers."""
        return HubIssuer(*self._load(HUB_ISSUING, number))

    def load_node_issuer(self, number: int | None = None) -> NodeIssuer:
        """Read what signs clients."""
        return NodeIssuer(*self._load(NODE_ISSUING, number))

    def load_node_issuers(self, record: Record | None = None) -> tuple[x509.Certificate, ...]:
        """Read the certificates of all that may have signed clients, the one that does so now first."""
        numbers = in_use(record or self.load_record()).node_issuers
        return tuple(self.load_certificate(NODE_ISSUING, number) for number in numbers)

    def load_roots(self, record: Record | None = None) -> tuple[x509.Certificate, ...]:
        """Read the roots that nodes are to trust, the one that the hub's certificate leads to first."""
        numbers = in_use(record or self.load_record()).roots
        return tuple(self.load_certificate(ROOT, number) for number in numbers)

    def load_certificate(self, name: str, number: int | None = None) -> x509.Certificate:
        """Read the certificate of an authority, for which no key is needed."""
        self.require()
        path = self.certificate(name, number)
        with naming(path):
            (certificate, *more) = pem.certificates(pem.split(disk.read_public(path)))
            bundle.require_authority(certificate)
            if more:
                raise BadBundle("there is more than one certificate")
        return certificate

    @property
    def _record(self) -> Path:
        return self.directory / "rotation.json"

    def load_record(self) -> Record:
        """Read which authorities are in use, and how far an exchange has come."""
        path = self._record
        with suppress(FileNotFoundError), naming(path, missing_is_bad=False):
            return _parse_record(disk.read_public(path))
        return Record()

    def save_record(self, record: Record) -> None:
        """Replace what `load_record` reads: the one moment in which an exchange goes on."""
        text = json.dumps(asdict(record), indent=2, default=datetime.isoformat) + "\n"
        disk.replace(self._record, text.encode(), mode=disk.PUBLIC_MODE)

    def remove_unused(self, record: Record, left: Numbers | None = None) -> None:
        """Remove the authorities before those of *record*, and those of *left*, which it has turned away from."""
        undone = {} if left is None else _by_name(left)
        for name, number in _by_name(record.old).items():
            for unused in {*range(1, number), undone.get(name, number)} - {number}:
                self.key(name, unused).unlink(missing_ok=True)
                self.certificate(name, unused).unlink(missing_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let one process at a time make authorities or exchange them."""
        self.require()
        descriptor = disk.open_own(self.directory / ".lock")
        try:
            with disk.locked(descriptor):
                yield
        finally:
            os.close(descriptor)

    def copy_to(self, directory: Path) -> None:
        """Write all that a hub needs into *directory*, which is new: what is in use between exchanges, but no key of a root."""
        used = _by_name(self.load_record().old)
        others = [path for path in (self._record, self.directory / f"{ADMIN}.pem") if path.exists()]
        for path in (*(self.certificate(name, number) for name, number in used.items()), *others):
            disk.create(directory / path.name, disk.read_public(path), mode=disk.PUBLIC_MODE)
        for name in (HUB_ISSUING, NODE_ISSUING):
            key = self.key(name, used[name])
            disk.create(directory / key.name, disk.read_secret(key), mode=disk.SECRET_MODE)

    def save_admin(self, chain: Chain) -> None:
        """Write whom the hub is to know from the start."""
        disk.create(self.directory / f"{ADMIN}.pem", chain.pem, mode=disk.PUBLIC_MODE)

    def load_admin(self) -> Chain:
        """Read the chain of the first admin, as it was issued then."""
        self.require()
        path = self.directory / f"{ADMIN}.pem"
        with naming(path):
            return bundle.parse_chain(disk.read_public(path))

    def require(self) -> None:
        """Raise `NotInitialised` if there are no authorities."""
        if not self.directory.is_dir():
            raise NotInitialised(f"there are no keys in {self.directory}")

    def _load(self, name: str, number: int | None) -> tuple[PrivateKey, x509.Certificate]:
        certificate = self.load_certificate(name, number)
        path = self.key(name, number)
        with naming(path):
            return keys.key_from_pem(disk.read_secret(path)), certificate

    def _stem(self, name: str, number: int | None) -> str:
        if number is None:
            number = self._in_use(name)
        return name if number == 1 else f"{name}-{number}"

    def _in_use(self, name: str) -> int:
        using = in_use(self.load_record())
        return {ROOT: using.roots[0], HUB_ISSUING: using.hub_issuer, NODE_ISSUING: using.node_issuers[0]}[
            name
        ]


@contextmanager
def naming(path: Path, *, missing_is_bad: bool = True) -> Iterator[None]:
    """Say in errors which file they are about."""
    try:
        yield
    except FileNotFoundError as error:
        if not missing_is_bad:
            raise
        raise BadBundle(f"{path} is missing") from error
    except (BadBundle, BadIdentity, BadKey, WrongPassphrase) as error:
        raise type(error)(f"{path}: {error.what}") from error


def _by_name(numbers: Numbers) -> dict[str, int]:
    return {ROOT: numbers.root, HUB_ISSUING: numbers.hub_issuing, NODE_ISSUING: numbers.node_issuing}


def _parse_record(text: bytes) -> Record:
    try:
        said = json.loads(text)
        record = Record(int(said["generation"]), _numbers(said["old"]), _rotation(said["rotation"]))
        in_use(record)  # no pair of kind and phase that there is not
    except (ValueError, KeyError, TypeError) as error:
        raise BadBundle("what is in use cannot be read") from error
    return record


def _numbers(said: dict[str, int]) -> Numbers:
    return Numbers(int(said["root"]), int(said["hub_issuing"]), int(said["node_issuing"]))


def _rotation(said: dict[str, str] | None) -> Rotation | None:
    if said is None:
        return None
    return Rotation(
        kind=Kind(said["kind"]),
        phase=Phase(said["phase"]),
        since=datetime.fromisoformat(said["since"]),
        began_at=datetime.fromisoformat(said["began_at"]),
        generation=int(said["generation"]),
    )
