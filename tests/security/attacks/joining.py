"""Who asks for a certificate, with what, and who asks for too much with a good one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from hubspoke import enrol
from hubspoke.api.admin.v1 import admin_pb2 as admin_pb
from hubspoke.api.admin.v1.admin_pb2_grpc import AdminServiceStub
from hubspoke.api.enrolment.v1 import enrolment_pb2 as pb
from hubspoke.api.enrolment.v1.enrolment_pb2_grpc import (
    EnrolmentServiceServicer,
    EnrolmentServiceStub,
    add_EnrolmentServiceServicer_to_server,
)
from hubspoke.api.mesh.v1 import mesh_pb2 as mesh_pb
from hubspoke.clock import SystemClock
from hubspoke.errors import (
    AlreadyEnrolled,
    InvalidRequest,
    PermissionDenied,
    RequestTooLarge,
    Unauthenticated,
    Unreachable,
)
from pki.address import Address
from pki.errors import BadToken
from pki.identity import HUB_SERVER_NAME, NodeName, Role
from pki.keys import PrivateKey, certificate_request, key_to_pem, new_key
from tests.fakes.certs import make_mesh
from tests.fakes.real_hub import ScriptedSpoke, a_model, an_inventory
from tests.security.cases import Layer, case
from tests.security.yard import CALL_S, now, refused, refused_with, seen, stored, who_am_i

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from pki.tokens import JoinToken
    from tests.security.yard import Yard

RACERS = 30
CSR_BYTES = 40_000
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


@case(29, "a certificate of ours for a node that never joined", Layer.IDENTITY)
async def never_joined(yard: Yard) -> str:
    return await yard.refusal(
        yard.of_the_mesh(Role.ADMIN, yard.name("ghost")), grpc.StatusCode.UNAUTHENTICATED
    )


@case(30, "a role that is not the registered one", Layer.IDENTITY)
async def other_role(yard: Yard) -> str:
    name = (await yard.node(Role.SPOKE)).load_identity().identity.name
    return await yard.refusal(yard.of_the_mesh(Role.ADMIN, name), grpc.StatusCode.UNAUTHENTICATED)


@case(31, "a spoke that calls what is for admins", Layer.ACCESS)
async def spoke_as_admin(yard: Yard) -> str:
    async with yard.channel(stored(await yard.node())) as channel:
        stub = AdminServiceStub(channel)
        call = stub.ListSpokes(admin_pb.ListSpokesRequest(), timeout=CALL_S)
        return await refused_with(call, PermissionDenied)


@case(32, "a spoke that speaks for another one", Layer.HUB)
async def speaks_for_another(yard: Yard) -> str:
    # No message names a node; what stands for one is its session.
    async with (
        yard.channel(stored(await yard.node())) as one,
        yard.channel(stored(await yard.node())) as two,
    ):
        honest, thief = ScriptedSpoke(one), ScriptedSpoke(two)
        for spoke in (honest, thief):
            await spoke.register(an_inventory(a_model()))
        await honest.beat()
        slot = await _open(thief, honest.session)
        text = await refused(_drained(slot), grpc.StatusCode.ABORTED, grpc.StatusCode.PERMISSION_DENIED)
        await honest.beat()
        return text


@case(33, "a method that is not in the table", Layer.ACCESS)
async def unlisted(yard: Yard) -> str:
    async with yard.channel(stored(await yard.node(Role.ADMIN))) as channel:
        texts = [
            await refused_with(channel.unary_unary(method)(b"", timeout=CALL_S), PermissionDenied)
            for method in ("/hubspoke.api.admin.v1.AdminService/Nothing", "/grpc.health.v1.Health/Check")
        ]
    return seen(texts)


@case(34, "a token that is used already", Layer.ENROL)
async def replay(yard: Yard) -> str:
    token = await yard.token(yard.name("replay"))
    await join(yard, token)
    return await refused_with(join(yard, token), Unauthenticated)


@case(35, f"one token, {RACERS} machines at a time", Layer.ENROL)
async def race(yard: Yard) -> str:
    token = await yard.token(yard.name("race"))
    tries = await asyncio.gather(*(join(yard, token) for _ in range(RACERS)), return_exceptions=True)
    won = [one for one in tries if isinstance(one, pb.JoinResponse)]
    lost = [one for one in tries if isinstance(one, grpc.aio.AioRpcError)]
    assert (len(won), len(lost)) == (1, RACERS - 1)
    codes = {one.code() for one in lost}
    assert codes <= {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED}, codes
    return "1 of 30 let in"


@case(36, "a token whose time is over", Layer.ENROL)
async def late(yard: Yard) -> str:
    token = await yard.token(yard.name("late"), lifetime=timedelta(milliseconds=1))
    return await refused_with(join(yard, token), Unauthenticated)


@case(37, "a token with another secret", Layer.ENROL)
async def wrong_secret(yard: Yard) -> str:
    token = await yard.token(yard.name("guess"))
    text = await refused_with(join(yard, replace(token, secret=bytes(32))), Unauthenticated)
    await join(yard, token)  # it is as good as before
    return text


@case(38, "a token for a name that is in use", Layer.ENROL)
async def name_in_use(yard: Yard) -> str:
    name = (await yard.node()).load_identity().identity.name
    async with yard.channel(stored(yard.hub.admin)) as channel:
        request = admin_pb.CreateJoinTokenRequest(name=name, role=1)
        call = AdminServiceStub(channel).CreateJoinToken(request, timeout=CALL_S)
        return await refused_with(call, AlreadyEnrolled)


@case(39, "a request that asks for an admin's identity, or the hub's name", Layer.ENROL)
async def asks_for_names(yard: Yard) -> str:
    admin = x509.UniformResourceIdentifier("spiffe://hubspoke.internal/admin/admin")
    return seen(
        [await refused_request(yard, csr(names=[name])) for name in (admin, x509.DNSName(HUB_SERVER_NAME))]
    )


@case(40, "a request with a common name", Layer.ENROL)
async def asks_for_a_common_name(yard: Yard) -> str:
    return await refused_request(yard, csr(common_name="admin"))


@case(41, "a request to be an authority", Layer.ENROL)
async def asks_to_be_an_authority(yard: Yard) -> str:
    return await refused_request(yard, csr(is_authority=True))


@case(42, "a request for a key of another kind", Layer.ENROL)
async def other_keys(yard: Yard) -> str:
    rsa_key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    kinds = (rsa_key, ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1()))
    return seen([await refused_request(yard, csr(key)) for key in kinds])


@case(43, "a request with a bad signature, and garbage", Layer.ENROL)
async def bad_signature(yard: Yard) -> str:
    good = certificate_request(new_key())
    texts = [
        await refused_request(yard, request) for request in (good[:-1] + bytes([good[-1] ^ 1]), b"x" * 300)
    ]
    return texts[0]


@case(44, "a request with another node's key", Layer.ENROL)
async def key_of_another(yard: Yard) -> str:
    other = stored(await yard.node())
    token = await yard.token(yard.name("copy"))
    return await refused_with(join(yard, token, certificate_request(other.key)), AlreadyEnrolled)


@case(45, f"a request of {CSR_BYTES // 1000} kB", Layer.LIMIT)
async def huge_request(yard: Yard) -> str:
    token = await yard.token(yard.name("huge"))
    return await refused_with(join(yard, token, bytes(CSR_BYTES)), RequestTooLarge)


@case(46, "a false hub that a machine is to join", Layer.NODE_TLS)
async def false_hub(yard: Yard) -> str:
    name = yard.name("victim")
    token = await yard.token(name)
    key = new_key()
    chain = make_mesh(now()).hub_issuer.issue_hub(key.public_key(), NodeName("h1"), now=now())
    server, service = grpc.aio.server(), Listening()
    add_EnrolmentServiceServicer_to_server(service, server)
    pair = (key_to_pem(key), chain.pem)
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    await server.start()
    try:
        misled = replace(token, addresses=(Address(f"127.0.0.1:{port}"),))
        text = await refused_here(
            enrol.join(misled.text, yard.hub.directory / name, roles=[Role.SPOKE], clock=SystemClock()),
            Unreachable,
        )
    finally:
        await server.stop(None)
    assert not service.heard
    return text.replace(str(port), "PORT")


@case(47, "a token that is cut or edited", Layer.NODE)
async def edited_token(yard: Yard) -> str:
    name = yard.name("edited")
    text = (await yard.token(name)).text
    middle = len(text) // 2
    edited = (text[:-1], text[:middle], text[:middle] + "A" + text[middle:], "hs2" + text[3:], "")
    told = [
        await refused_here(
            enrol.join(one, yard.hub.directory / name, roles=[Role.SPOKE], clock=SystemClock()), BadToken
        )
        for one in edited
    ]
    assert not (yard.hub.directory / name).exists()
    return told[0]


@case(48, "joining on the mesh port, and calls of the mesh on the enrol port", Layer.ACCESS)
async def other_port(yard: Yard) -> str:
    token = await yard.token(yard.name("lost"))
    async with yard.channel(None) as channel:
        await refused(ask(channel, token, certificate_request(new_key())), UNAVAILABLE)
    async with yard.channel(stored(yard.hub.admin)) as channel:
        on_mesh = await refused_with(ask(channel, token, certificate_request(new_key())), PermissionDenied)
    async with yard.channel(stored(yard.hub.admin), yard.hub.enrol) as channel:
        on_enrol = await refused_with(who_am_i(channel), PermissionDenied)
    return seen([on_mesh, on_enrol])


class Listening(EnrolmentServiceServicer):
    """Writes down that somebody wants to join."""

    def __init__(self) -> None:
        self.heard: list[pb.JoinRequest] = []

    async def Join(self, request, _context):  # noqa: N802  # the proto names it
        self.heard.append(request)
        raise AssertionError("a machine has shown its token to a false hub")


def join(yard: Yard, token: JoinToken, request: bytes | None = None) -> Awaitable[pb.JoinResponse]:
    """Ask the enrol port for a certificate."""

    async def asked() -> pb.JoinResponse:
        async with yard.channel(None, yard.hub.enrol) as channel:
            return await ask(channel, token, certificate_request(new_key()) if request is None else request)

    return asked()


async def ask(channel: grpc.aio.Channel, token: JoinToken, request: bytes) -> pb.JoinResponse:
    """Ask for a certificate over *channel*."""
    message = pb.JoinRequest(token_id=token.id, token_secret=token.secret, certificate_request=request)
    return await EnrolmentServiceStub(channel).Join(message, timeout=CALL_S)


async def refused_request(yard: Yard, request: bytes) -> str:
    """Ask with a good token and a bad request, which must not use the token up."""
    token = await yard.token(yard.name("request"))
    text = await refused_with(join(yard, token, request), InvalidRequest)
    await join(yard, token)
    return text


async def refused_here(joining: Awaitable[object], kind: type[Exception]) -> str:
    """Join, which has to fail on this machine with an error of *kind*."""
    with pytest.raises(kind) as caught:
        await joining
    return str(caught.value)


def csr(
    key: PrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | None = None,
    *,
    common_name: str = "",
    names: list[x509.GeneralName] | None = None,
    is_authority: bool = False,
) -> bytes:
    """Make a certificate request that asks for more than it may."""
    key = key or new_key()
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if is_authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(Encoding.DER)


async def _open(
    spoke: ScriptedSpoke, session: int
) -> grpc.aio.StreamStreamCall[mesh_pb.WorkRequest, mesh_pb.WorkResponse]:
    """Open a slot in a session that may be somebody else's."""
    call = spoke.stub.Work()
    await call.write(mesh_pb.WorkRequest(open=mesh_pb.Open(session=session, slot=0)))
    return call


async def _drained(call: grpc.aio.StreamStreamCall[mesh_pb.WorkRequest, mesh_pb.WorkResponse]) -> None:
    async for _ in call:
        pass
