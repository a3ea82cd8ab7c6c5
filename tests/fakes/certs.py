"""A whole mesh of authorities, and certificates that ours would never issue.

`issue` takes any authority, a real one too: a certificate that is wrong in one way and right in all others
shows which check refuses it.
"""

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pki.authority import Authority, HubIssuer, NodeIssuer, Root, create_root
from pki.bundle import Chain
from pki.credential import Credential
from pki.errors import Refusal
from pki.identity import HUB_SERVER_NAME
from pki.keys import PublicKey, new_key

CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER = ExtendedKeyUsageOID.SERVER_AUTH
DEN = "spiffe://hubspoke.internal/spoke/den"


@dataclass(frozen=True, slots=True)
class Mesh:
    """The authorities of a mesh, made at *now*."""

    now: datetime
    root: Root
    hub_issuer: HubIssuer
    node_issuer: NodeIssuer


@dataclass(frozen=True, slots=True)
class Shape:
    """What a certificate says. As it stands: what a right one for the spoke `den` says."""

    uris: tuple[str, ...] = (DEN,)
    dns: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    usages: tuple[x509.ObjectIdentifier, ...] = (CLIENT,)
    common_name: str = ""
    starts_in: timedelta = timedelta(minutes=-5)
    ends_in: timedelta = timedelta(hours=1)
    is_authority: bool = False
    signed_by: PublicKey | None = None
    """The key that it names as its issuer's; the one that did sign it when there is none."""


RIGHT = Shape()

# What TLS may well accept and `check_peer` must not, and why it does not.
WRONG = {
    "no EKU": (Shape(usages=()), Refusal.WRONG_USAGE),
    "serverAuth": (Shape(usages=(SERVER,)), Refusal.WRONG_USAGE),
    "clientAuth and serverAuth": (Shape(usages=(CLIENT, SERVER)), Refusal.WRONG_USAGE),
    "CN only": (Shape(uris=(), common_name=DEN), Refusal.NO_IDENTITY),
    "DNS only": (Shape(uris=(), dns=("den.local",)), Refusal.NO_IDENTITY),
    "two URIs": (Shape(uris=(DEN, DEN.replace("spoke/", "admin/"))), Refusal.MANY_IDENTITIES),
    "URI and DNS": (Shape(dns=(HUB_SERVER_NAME,)), Refusal.OTHER_NAMES),
    "URI and IP": (Shape(ips=("127.0.0.1",)), Refusal.OTHER_NAMES),
    "foreign trust domain": (Shape(uris=("spiffe://other.internal/spoke/den",)), Refusal.BAD_IDENTITY),
    "query": (Shape(uris=(f"{DEN}?admin=1",)), Refusal.BAD_IDENTITY),
    "a hub as client": (Shape(uris=("spiffe://hubspoke.internal/hub/h1",)), Refusal.NOT_A_CLIENT),
    "expired": (Shape(ends_in=timedelta(seconds=-1)), Refusal.EXPIRED),
    "not valid yet": (Shape(starts_in=timedelta(seconds=5)), Refusal.NOT_YET_VALID),
}


def make_mesh(now: datetime) -> Mesh:
    """Make real authorities: nothing about them is wrong."""
    root = create_root(now=now)
    return Mesh(now, root, root.create_hub_issuer(now=now), root.create_node_issuer(now=now))


def issue(issuer: Authority, shape: Shape = RIGHT, *, now: datetime) -> Credential:
    """Certify a new key as *shape* says, signed by *issuer*."""
    key = new_key()
    certificate = _builder(
        shape, key.public_key(), issuer.certificate.subject, issuer.key.public_key(), now=now
    )
    return Credential(key, Chain((certificate.sign(issuer.key, hashes.SHA256()), issuer.certificate)))


def lookalike(authority: Authority, *, now: datetime) -> Authority:
    """Make an authority that signs itself under the name of *authority*, with another key."""
    key = new_key()
    shape = Shape(uris=(), usages=(), is_authority=True)
    name = authority.certificate.subject
    builder = _builder(shape, key.public_key(), name, key.public_key(), now=now, subject=name)
    return Authority(key, builder.sign(key, hashes.SHA256()))


def _builder(
    shape: Shape,
    key: PublicKey,
    issuer: x509.Name,
    issuer_key: PublicKey,
    *,
    now: datetime,
    subject: x509.Name | None = None,
) -> x509.CertificateBuilder:
    common_name = [x509.NameAttribute(NameOID.COMMON_NAME, shape.common_name)] if shape.common_name else []
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject or x509.Name(common_name))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + shape.starts_in)
        .not_valid_after(now + shape.ends_in)
        .add_extension(x509.BasicConstraints(ca=shape.is_authority, path_length=None), critical=True)
        .add_extension(_key_usage(shape), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(shape.signed_by or issuer_key), critical=False
        )
    )
    if names := _names(shape):
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not shape.common_name)
    if shape.usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(shape.usages), critical=False)
    return builder


def _key_usage(shape: Shape) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not shape.is_authority,
        key_cert_sign=shape.is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _names(shape: Shape) -> list[x509.GeneralName]:
    return [
        *(x509.UniformResourceIdentifier(uri) for uri in shape.uris),
        *(x509.DNSName(name) for name in shape.dns),
        *(x509.IPAddress(ipaddress.ip_address(ip)) for ip in shape.ips),
    ]
