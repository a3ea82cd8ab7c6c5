"""A private key together with the certificates that vouch for it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from cryptography import x509

from pki import bundle, pem
from pki.bundle import Chain
from pki.errors import BadKey
from pki.identity import Identity
from pki.keys import PrivateKey, key_from_pem, key_to_pem
from pki.policy import identity_of, serial_hex


@dataclass(frozen=True, slots=True)
class Credential:
    """What one side of a TLS connection needs.

    Raises `BadKey` for a key that is not the leaf's.
    """

    key: PrivateKey
    chain: Chain

    def __post_init__(self) -> None:
        if self.key.public_key() != self.chain.leaf.public_key():
            raise BadKey("the private key does not belong to the certificate")

    def __repr__(self) -> str:
        return f"Credential(key=..., serial={serial_hex(self.chain.leaf)!r})"

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Read what `pem` wrote: key, leaf, chain. Raises `BadBundle` or `BadKey`."""
        first, *rest = pem.split(text)
        return cls(key_from_pem(first.text), bundle.linked(pem.certificates(tuple(rest))))

    @property
    def key_pem(self) -> bytes:
        """The key, not encrypted."""
        return key_to_pem(self.key)

    @property
    def chain_pem(self) -> bytes:
        """The leaf and what is above it."""
        return self.chain.pem

    @property
    def pem(self) -> bytes:
        """Key and chain in one, so that one atomic write replaces both."""
        return self.key_pem + self.chain_pem

    @property
    def not_before(self) -> datetime:
        """When the leaf begins."""
        return self.chain.leaf.not_valid_before_utc

    @property
    def not_after(self) -> datetime:
        """When the leaf ends."""
        return self.chain.leaf.not_valid_after_utc

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host names and IP addresses that the leaf is for; of a node's there are none."""
        names = self.chain.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        told = (name.value for name in names if isinstance(name, x509.DNSName | x509.IPAddress))
        return tuple(str(host) for host in told)


@dataclass(frozen=True, slots=True)
class StoredIdentity:
    """A credential of somebody in the mesh, ready for gRPC: everything that is asked of it, read once."""

    key_pem: bytes
    chain_pem: bytes
    identity: Identity
    serial: str
    not_before: datetime
    not_after: datetime

    def __repr__(self) -> str:
        return f"StoredIdentity(key_pem=..., identity={self.identity.uri!r}, serial={self.serial!r})"

    @classmethod
    def of(cls, credential: Credential) -> Self:
        """Read *credential*, or raise `BadIdentity` if it is nobody's (as a gateway's is)."""
        return cls(
            key_pem=credential.key_pem,
            chain_pem=credential.chain_pem,
            identity=identity_of(credential.chain.leaf),
            serial=serial_hex(credential.chain.leaf),
            not_before=credential.not_before,
            not_after=credential.not_after,
        )
