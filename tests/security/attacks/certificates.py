"""Certificates that are wrong in one way each: whom the hub takes, and whom a node takes for its hub."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from hubspoke.api.identity.v1.identity_pb2_grpc import (
    IdentityServiceServicer,
    add_IdentityServiceServicer_to_server,
)
from pki.authority import Authority
from pki.bundle import Chain
from pki.credential import Credential
from pki.errors import BadAddress
from pki.identity import HUB_SERVER_NAME, NodeName, Role
from pki.keys import new_key
from pki.profiles import gateway
from tests.fakes.certs import DEN, RIGHT, SERVER, Shape, issue, lookalike, make_mesh
from tests.security.cases import Layer, case
from tests.security.yard import now, refused, seen, stored, who_am_i

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.security.yard import Yard

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
HUB = Shape(uris=(), dns=(HUB_SERVER_NAME,), usages=(SERVER,))

SPELLINGS = (
    "spiffe://HUBSPOKE.internal/spoke/{name}",
    "spiffe://hubspoke.internal/SPOKE/{name}",
    "spiffe://hubspoke.internal/spoke/{name}?admin=1",
    "spiffe://hubspoke.internal/spoke/{name}#x",
    "spiffe://hubspoke.internal/spoke%2f{name}",
    "spiffe://hubspoke.internal/spoke/../admin/{name}",
    "spiffe://hubspoke.internal/spoke/{name}/",
    "spiffe://hubspoke.internal/spoke/{name}" + "x" * 64,
)
"""Ways to write an identity that a careless reader takes for the right one."""


@case(1, "no certificate on the mesh port", Layer.HUB_TLS)
async def no_certificate(yard: Yard) -> str:
    return await yard.refusal(None, UNAVAILABLE)


@case(2, "a certificate that signs itself", Layer.HUB_TLS)
async def self_signed(yard: Yard) -> str:
    own = lookalike(yard.authorities.node_issuer, now=now())
    leaf = issue(own, now=now())
    return await yard.refusal(Credential(leaf.key, Chain((leaf.chain.leaf,))), UNAVAILABLE)


@case(3, "a certificate of another mesh", Layer.HUB_TLS)
async def other_mesh(yard: Yard) -> str:
    return await yard.refusal(issue(make_mesh(now()).node_issuer, now=now()), UNAVAILABLE)


@case(4, "another authority by the name of ours", Layer.HUB_TLS)
async def same_name(yard: Yard) -> str:
    forger = lookalike(yard.authorities.node_issuer, now=now())
    return await yard.refusal(issue(forger, now=now()), UNAVAILABLE)


@case(5, "a certificate that has expired", Layer.HUB_TLS)
async def expired(yard: Yard) -> str:
    return await yard.refusal(await yard.registered(Shape(ends_in=timedelta(seconds=-1))), UNAVAILABLE)


@case(6, "a certificate that begins in a while", Layer.HUB_TLS)
async def not_yet_valid(yard: Yard) -> str:
    shown = await yard.registered(Shape(starts_in=timedelta(seconds=60)))
    return await yard.refusal(shown, UNAVAILABLE)


@case(7, "a certificate for servers", Layer.HUB_TLS)
async def server_usage(yard: Yard) -> str:
    return await yard.refusal(await yard.registered(Shape(usages=(SERVER,))), UNAVAILABLE)


@case(8, "a certificate without a purpose", Layer.IDENTITY)
async def no_usage(yard: Yard) -> str:
    return await yard.refusal(await yard.registered(Shape(usages=())), UNAUTHENTICATED)


@case(9, "an admin that a node's key has signed", Layer.HUB_TLS)
async def signed_by_a_leaf(yard: Yard) -> str:
    own = stored(await yard.node())
    forged = issue(Authority(own.key, own.chain.leaf), ADMIN, now=now())
    chain = Chain((forged.chain.leaf, *own.chain.certificates))
    return await yard.refusal(Credential(forged.key, chain), UNAVAILABLE)


@case(10, "an authority below the issuer of nodes", Layer.IDENTITY)
async def path_length(yard: Yard) -> str:
    issuer = yard.authorities.node_issuer
    below = issue(issuer, Shape(uris=(), usages=(), is_authority=True), now=now())
    forger = Authority(below.key, below.chain.leaf)
    # The hub anchors the issuer itself, so TLS does not count the steps below it...
    honest = issue(forger, ADMIN, now=now())
    # ...and one that names the issuer's own key as the one that signed it does not get past TLS.
    lying = issue(forger, replace(ADMIN, signed_by=issuer.key.public_key()), now=now())
    chains = [Chain((forged.chain.leaf, *below.chain.certificates)) for forged in (lying, honest)]
    await yard.refusal(Credential(lying.key, chains[0]), UNAVAILABLE)
    return await yard.refusal(Credential(honest.key, chains[1]), UNAUTHENTICATED)


@case(11, "an identity of another trust domain", Layer.HUB_TLS)
async def foreign_domain(yard: Yard) -> str:
    return await yard.refusal(yard.certified(Shape(uris=("spiffe://other.internal/spoke/den",))), UNAVAILABLE)


@case(12, "two identities in one certificate", Layer.IDENTITY)
async def two_identities(yard: Yard) -> str:
    shown = await yard.registered(Shape(uris=(DEN, ADMIN.uris[0])))
    return await yard.refusal(shown, UNAUTHENTICATED)


@case(13, "an identity with a host name beside it", Layer.IDENTITY)
async def identity_and_host(yard: Yard) -> str:
    return await yard.refusal(await yard.registered(Shape(dns=("den.local",))), UNAUTHENTICATED)


@case(14, "an identity in the common name only", Layer.IDENTITY)
async def common_name_only(yard: Yard) -> str:
    shown = yard.certified(Shape(uris=(), common_name="spiffe://hubspoke.internal/admin/admin"))
    return await yard.refusal(shown, UNAUTHENTICATED)


@case(15, "an identity in another spelling", Layer.IDENTITY)
async def spellings(yard: Yard) -> str:
    name = (await yard.node()).load_identity().identity.name
    shown = [yard.certified(Shape(uris=(text.format(name=name),))) for text in SPELLINGS]
    # Some never get past TLS: its check of the trust domain is one of letters.
    texts = [await refusal_of_either(yard, credential) for credential in shown]
    return seen([text for text in texts if text.startswith("UNAUTHENTICATED")])


@case(16, "a client that the issuer of hubs has signed", Layer.HUB_TLS)
async def signed_by_the_issuer_of_hubs(yard: Yard) -> str:
    return await yard.refusal(issue(yard.authorities.hub_issuer, ADMIN, now=now()), UNAVAILABLE)


@case(17, "a client that the root has signed", Layer.HUB_TLS)
async def signed_by_the_root(yard: Yard) -> str:
    return await yard.refusal(issue(yard.authorities.root, ADMIN, now=now()), UNAVAILABLE)


@case(18, "a hub that the issuer of nodes has signed", Layer.NODE_TLS)
async def hub_of_the_issuer_of_nodes(yard: Yard) -> str:
    shape = replace(HUB, common_name=HUB_SERVER_NAME)
    return await refused_by_a_node(yard, issue(yard.authorities.node_issuer, shape, now=now()))


@case(19, "a hub by another name, and no way to issue one by its common name", Layer.NODE_TLS)
async def hub_by_another_name(yard: Yard) -> str:
    issuer = yard.authorities.hub_issuer
    texts = [
        await refused_by_a_node(yard, issue(issuer, shape, now=now()))
        for shape in (replace(HUB, dns=("hub.local",)), replace(HUB, dns=(), ips=("127.0.0.1",)))
    ]
    # TLS libraries take a host name from the common name: our issuers write none, and no gateway gets the hub's name.
    leaf = issuer.issue_hub(new_key().public_key(), NodeName("h1"), now=now()).leaf
    assert not leaf.subject.rdns
    for host in (HUB_SERVER_NAME, HUB_SERVER_NAME.upper(), f"x.{HUB_SERVER_NAME}"):
        try:
            gateway([host])
        except BadAddress:
            continue
        raise AssertionError(f"a gateway may be called {host}")
    return seen(texts)


@case(20, "a hub whose certificate has expired", Layer.NODE_TLS)
async def expired_hub(yard: Yard) -> str:
    shape = replace(HUB, ends_in=timedelta(seconds=-1))
    return await refused_by_a_node(yard, issue(yard.authorities.hub_issuer, shape, now=now()))


@case(28, "a revoked certificate with its signature bent", Layer.IDENTITY)
async def malleated(yard: Yard) -> str:
    own = stored(await yard.node(Role.APP))
    await yard.revoke(own)
    bent = Credential(own.key, Chain((bent_signature(own.chain.leaf), *own.chain.certificates[1:])))
    assert bent.chain.leaf.serial_number == own.chain.leaf.serial_number
    assert bent.chain_pem != own.chain_pem
    return await yard.refusal(bent, UNAUTHENTICATED)


ADMIN = replace(RIGHT, uris=("spiffe://hubspoke.internal/admin/admin",))

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def bent_signature(certificate: x509.Certificate) -> x509.Certificate:
    """Give the same certificate under the other signature that ECDSA allows: (r, n - s) is as good as (r, s)."""
    r, s = decode_dss_signature(certificate.signature)
    other = encode_dss_signature(r, P256_ORDER - s)
    old = certificate.public_bytes(Encoding.DER)
    body = certificate.tbs_certificate_bytes
    algorithm = old[old.index(body) + len(body) : -len(certificate.signature) - 3]
    bits = b"\x03" + bytes([len(other) + 1]) + b"\x00" + other
    inner = body + algorithm + bits
    return x509.load_der_x509_certificate(b"\x30\x82" + len(inner).to_bytes(2, "big") + inner)


async def refusal_of_either(yard: Yard, shown: Credential) -> str:
    async with yard.channel(shown) as channel:
        return await refused(who_am_i(channel), UNAUTHENTICATED, UNAVAILABLE)


async def refused_by_a_node(yard: Yard, shown: Credential) -> str:
    """Let a node call a hub that shows *shown*; it must not say a word to it."""
    node = stored(await yard.node())
    async with false_hub(shown) as (address, heard):
        async with yard.channel(node, address) as channel:
            text = await refused(who_am_i(channel), UNAVAILABLE)
        assert not heard
    return text


class Listening(IdentityServiceServicer):
    """Writes down that somebody has asked."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def WhoAmI(self, _request, _context):  # noqa: N802  # the proto names it
        self.heard.append("WhoAmI")
        raise AssertionError("a node has spoken to a false hub")


@asynccontextmanager
async def false_hub(shown: Credential) -> AsyncIterator[tuple[str, list[str]]]:
    """Run a server that shows *shown*; give its address, and what it has heard."""
    server, service = grpc.aio.server(), Listening()
    add_IdentityServiceServicer_to_server(service, server)
    credentials = grpc.ssl_server_credentials([(shown.key_pem, shown.chain_pem)])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield f"127.0.0.1:{port}", service.heard
    finally:
        await server.stop(None)
