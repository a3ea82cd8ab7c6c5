"""What the mesh's certificates look like, and how long they last.

Every certificate is built here; `pki.authority` only adds a serial number and signs. Sources: RFC 5280,
the X.509-SVID specification of SPIFFE, and the CA/Browser Forum's baseline for what browsers take.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pki.address import Host, parse_host
from pki.errors import BadAddress, BadIdentity, IssuerExpired
from pki.identity import HUB_SERVER_NAME, TRUST_DOMAIN, Identity, NodeName, Role

ROOT_LIFETIME = timedelta(days=3653)
ISSUING_LIFETIME = timedelta(days=1826)
# Revocation is the hub's business; this is how long a stolen certificate lasts without it.
LEAF_LIFETIME = timedelta(hours=24)
# The gateway's clients are browsers and SDKs, which cap a certificate at 398 days and mean to go
# lower. The hub renews this one by itself at half-life: 90 days survive a hub that is off for a month.
GATEWAY_LIFETIME = timedelta(days=90)

# A peer whose clock is behind must not refuse a certificate made a moment ago...
BACKDATE_MAX = timedelta(minutes=5)
# ...but one that lives for seconds must not be born past its half-life.
BACKDATE_SHARE = 12

HOSTS_MAX = 32
"""How many names and addresses a gateway certificate may have."""

NODE_ROLES = frozenset({Role.SPOKE, Role.APP, Role.ADMIN})


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long each kind of certificate lasts."""

    root: timedelta = ROOT_LIFETIME
    issuing: timedelta = ISSUING_LIFETIME
    leaf: timedelta = LEAF_LIFETIME
    gateway: timedelta = GATEWAY_LIFETIME


@dataclass(frozen=True, slots=True)
class Validity:
    """The span in which a certificate counts, to the second."""

    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension and whether a reader that does not know it must refuse the certificate."""

    value: x509.ExtensionType
    critical: bool


@dataclass(frozen=True, slots=True)
class Profile:
    """What sets a kind of certificate apart: its subject and its extensions."""

    subject: x509.Name
    extensions: tuple[Extension, ...]


def root(key: ec.EllipticCurvePublicKey) -> Profile:
    """Describe the root: it signs issuing certificates, and they sign no further ones."""
    return Profile(_authority_name("root", key), _authority(path_length=1))


def hub_issuing(key: ec.EllipticCurvePublicKey) -> Profile:
    """Describe what signs servers: the hubs and their gateways."""
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    extensions = (*_authority(path_length=0), Extension(usage, critical=False))
    return Profile(_authority_name("hub-issuing", key), extensions)


def node_issuing(key: ec.EllipticCurvePublicKey) -> Profile:
    """Describe what signs clients, of this trust domain only."""
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    domain = x509.NameConstraints([x509.UniformResourceIdentifier(TRUST_DOMAIN)], None)
    extensions = (
        *_authority(path_length=0),
        Extension(usage, critical=False),
        Extension(domain, critical=True),
    )
    return Profile(_authority_name("node-issuing", key), extensions)


def node(identity: Identity) -> Profile:
    """Describe a node's certificate, or raise `BadIdentity` for a hub's identity."""
    if identity.role not in NODE_ROLES:
        raise BadIdentity(f"{identity.uri} is not a node's identity")
    return _leaf([x509.UniformResourceIdentifier(identity.uri)], ExtendedKeyUsageOID.CLIENT_AUTH)


def hub(name: NodeName) -> Profile:
    """Describe a hub's certificate for the mesh and enrol ports."""
    names = [
        x509.UniformResourceIdentifier(Identity(Role.HUB, name).uri),
        x509.DNSName(HUB_SERVER_NAME),
    ]
    return _leaf(names, ExtendedKeyUsageOID.SERVER_AUTH)


def gateway(hosts: Sequence[str]) -> Profile:
    """Describe the HTTP gateway's certificate: the names and addresses that people type.

    Raises `BadAddress` for no host, too many, one that is none, and for any name of the trust
    domain: with such a name the gateway's certificate would pass for the hub's.
    """
    parsed = tuple(dict.fromkeys(parse_host(host) for host in hosts))
    if not 1 <= len(parsed) <= HOSTS_MAX:
        raise BadAddress(f"a gateway has 1 to {HOSTS_MAX} hosts, not {len(parsed)}")
    return _leaf([_host_name(host) for host in parsed], ExtendedKeyUsageOID.SERVER_AUTH)


def validity(now: datetime, lifetime: timedelta, *, issuer_ends_at: datetime | None = None) -> Validity:
    """Span *lifetime* from *now*, no longer than the issuer lasts.

    *now* is aware. Raises `IssuerExpired` if nothing is left.
    """
    start = now.replace(microsecond=0)
    ends_at = start + lifetime
    if issuer_ends_at is not None:
        ends_at = min(ends_at, issuer_ends_at)
    if ends_at <= start:
        raise IssuerExpired(f"a certificate made at {start:%Y-%m-%d %H:%M:%S} would have expired already")
    backdate = min(BACKDATE_MAX, lifetime / BACKDATE_SHARE)
    return Validity((start - backdate).replace(microsecond=0), ends_at)


def unsigned(
    profile: Profile,
    span: Validity,
    *,
    serial: int,
    key: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePublicKey,
) -> x509.CertificateBuilder:
    """Put a certificate together, ready to be signed with *issuer_key*."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(profile.subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(span.not_before)
        .not_valid_after(span.not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )
    for extension in profile.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    return builder


def _authority_name(kind: str, key: ec.EllipticCurvePublicKey) -> x509.Name:
    """Name an authority after its key, so that no two generations share a name."""
    digest = x509.SubjectKeyIdentifier.from_public_key(key).digest.hex()
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"hubspoke {kind} {digest[:12]}")])


def _authority(path_length: int) -> tuple[Extension, ...]:
    return (
        Extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True),
        Extension(_key_usage(signs_certificates=True), critical=True),
    )


def _leaf(names: Sequence[x509.GeneralName], usage: x509.ObjectIdentifier) -> Profile:
    """Describe an end of a connection. Its subject is empty: TLS libraries still take a host name from there."""
    extensions = (
        Extension(x509.SubjectAlternativeName(names), critical=True),
        Extension(x509.BasicConstraints(ca=False, path_length=None), critical=True),
        Extension(_key_usage(signs_certificates=False), critical=True),
        Extension(x509.ExtendedKeyUsage([usage]), critical=False),
    )
    return Profile(x509.Name([]), extensions)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """Let an authority's key sign certificates and nothing else, a leaf's key anything but those."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host_name(host: Host) -> x509.GeneralName:
    if host == TRUST_DOMAIN or host.endswith(f".{TRUST_DOMAIN}"):
        raise BadAddress(f"{host!r} belongs to the mesh itself and is not for a gateway")
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
