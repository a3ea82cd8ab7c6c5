"""The authorities that are to take the place of others: made beside them, looked at, and put into use.

Making them takes the root's key and happens in the hands of whoever has that; putting them into use takes no such key and
is the running hub's business.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives import hashes

from pki import bundle
from pki.authority import Authority, Root, create_root
from pki.authority_files import HUB_ISSUING, NODE_ISSUING, ROOT, AuthorityFiles
from pki.bundle import Chain
from pki.errors import BadBundle, NoSuchStep
from pki.profiles import Lifetimes
from pki.rotation import Kind, Numbers, Record, begin

_USUAL = Lifetimes()


@dataclass(frozen=True, slots=True)
class RootKey:
    """The root's key: the *passphrase* that opens it, or is to shut a new one, and where it is if not at its usual place."""

    passphrase: bytes | None
    file: Path | None = None

    def __repr__(self) -> str:
        return f"RootKey(passphrase=..., file={self.file!r})"


def prepare(
    files: AuthorityFiles, kind: Kind, key: RootKey, *, now: datetime, lifetimes: Lifetimes = _USUAL
) -> str:
    """Make what *kind* exchanges, beside what is in use, and return the fingerprint to begin with.

    An issuer is signed with the root's *key*; a new root gets that of *key*'s passphrase. What an earlier call has made and
    nobody has begun with is replaced. Raises `NoSuchStep` while something is being exchanged, `RootKeyMissing`,
    `WrongPassphrase`, `WeakPassphrase`, or `IssuerExpired` where the root has ended.
    """
    with files.alone():
        record = files.load_record()
        numbers = begin(record, kind, now).new  # says no where that is not to be begun
        root = create_root(now=now, lifetime=lifetimes.root) if kind is Kind.ROOT else _root(files, key)
        if kind is Kind.ROOT:
            files.stage(ROOT, numbers.root, root, passphrase=key.passphrase)
        if kind is not Kind.NODE_ISSUING:
            hub_issuer = root.create_hub_issuer(now=now, lifetime=lifetimes.issuing)
            files.stage(HUB_ISSUING, numbers.hub_issuing, hub_issuer)
        if kind is not Kind.HUB_ISSUING:
            node_issuer = root.create_node_issuer(now=now, lifetime=lifetimes.issuing)
            files.stage(NODE_ISSUING, numbers.node_issuing, node_issuer)
        return fingerprint(files, kind, numbers)


def commit(files: AuthorityFiles, kind: Kind, shown: str, *, now: datetime) -> Record:
    """Begin with what `prepare` has made and *shown* names, and return what is in use then.

    Raises `NoSuchStep` for another fingerprint, and what is wrong with an authority that is not whole. Nothing has changed
    then.
    """
    with files.alone():
        record = begin(files.load_record(), kind, now)
        if fingerprint(files, kind, record.new) != shown:
            raise NoSuchStep("what was made for the exchange has been made anew since; begin again")
        check(files, kind, record.new)
        files.save_record(record)
        return record


def check(files: AuthorityFiles, kind: Kind, numbers: Numbers) -> None:
    """Raise `BadBundle`, `BadKey` or `UnsafeKeyFile` unless the new issuers are whole and signed by their root."""
    root = files.load_certificate(ROOT, numbers.root)
    issuers: list[Authority] = []
    if kind is not Kind.NODE_ISSUING:
        issuers.append(files.load_hub_issuer(numbers.hub_issuing))
    if kind is not Kind.HUB_ISSUING:
        issuers.append(files.load_node_issuer(numbers.node_issuing))
    for issuer in issuers:
        bundle.require_anchored(Chain((issuer.certificate,)), (root,))


def fingerprint(files: AuthorityFiles, kind: Kind, numbers: Numbers) -> str:
    """Name the authorities of *numbers* that *kind* exchanges: SHA-256 over their certificates', in hex."""
    names = {
        Kind.ROOT: (ROOT, HUB_ISSUING, NODE_ISSUING),
        Kind.HUB_ISSUING: (HUB_ISSUING,),
        Kind.NODE_ISSUING: (NODE_ISSUING,),
    }[kind]
    number = {ROOT: numbers.root, HUB_ISSUING: numbers.hub_issuing, NODE_ISSUING: numbers.node_issuing}
    digest = hashes.Hash(hashes.SHA256())
    for name in names:
        try:
            certificate = files.load_certificate(name, number[name])
        except BadBundle as error:
            raise NoSuchStep(f"nothing whole was made for the exchange: {error.what}") from error
        digest.update(certificate.fingerprint(hashes.SHA256()))
    return digest.finalize().hex()


def _root(files: AuthorityFiles, key: RootKey) -> Root:
    return files.load_root(key.passphrase, key.file)
