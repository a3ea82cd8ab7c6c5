"""Who gets in, and who is told what: the gates of a real hub's two ports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

from hub.identities import REFUSED
from hub.rpc.access import MESH_PORT
from hubspoke.api.admin.v1 import admin_pb2 as admin_pb
from hubspoke.api.admin.v1.admin_pb2_grpc import AdminServiceStub
from hubspoke.api.enrolment.v1 import enrolment_pb2 as enrolment_pb
from hubspoke.api.enrolment.v1.enrolment_pb2_grpc import EnrolmentServiceStub
from hubspoke.api.identity.v1 import identity_pb2 as pb
from hubspoke.api.identity.v1.identity_pb2_grpc import IdentityServiceStub
from hubspoke.channel import CHANNEL_OPTIONS
from hubspoke.clock import SystemClock
from hubspoke.credentials import anonymous_credentials, channel_credentials
from hubspoke.errors import (
    AlreadyEnrolled,
    InvalidRequest,
    MeshError,
    PermissionDenied,
    RequestTooLarge,
    Unauthenticated,
)
from hubspoke.wire import enums, status
from pki import pem
from pki.credential import Credential, StoredIdentity
from pki.files import HubFiles
from pki.identity import Identity, NodeName, Role
from pki.keys import certificate_request, new_key
from pki.tokens import JoinToken
from tests.fakes.certs import WRONG, issue

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tests.fakes.certs import Shape
    from tests.fakes.real_hub import RealHub

TIMEOUT_S = 20.0
STREAMING = {"Heartbeat", "Work"}


async def error_of(call: Awaitable[object]) -> MeshError:
    """Make a call that is to fail, and give its error."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return status.error_of(caught.value)


def anonymous(hub: RealHub, address: str) -> grpc.aio.Channel:
    anchors = hub.admin.load_anchors(now=SystemClock().now())
    return grpc.aio.secure_channel(address, anonymous_credentials(anchors), options=CHANNEL_OPTIONS)


async def a_token(hub: RealHub, name: str) -> JoinToken:
    channel = await hub.channel(hub.admin)
    request = admin_pb.CreateJoinTokenRequest(name=name, role=enums.ROLE.to_wire(Role.SPOKE))
    response = await AdminServiceStub(channel).CreateJoinToken(request)
    await channel.close()
    return JoinToken.parse(response.token)


async def test_without_a_certificate_nothing_on_the_mesh_port_answers(hub: RealHub) -> None:
    async with anonymous(hub, hub.mesh) as channel:
        call = IdentityServiceStub(channel).WhoAmI(pb.WhoAmIRequest(), timeout=TIMEOUT_S)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("shape", [shape for shape, _ in WRONG.values()], ids=list(WRONG))
async def test_a_certificate_that_tls_takes_and_the_mesh_does_not_is_refused_with_one_sentence(
    hub: RealHub, shape: Shape
) -> None:
    now = SystemClock().now()
    files = HubFiles(hub.directory / "hub")
    credential = issue(files.authorities.load_node_issuer(), shape, now=now)
    anchors = hub.admin.load_anchors(now=now)
    credentials = grpc.ssl_channel_credentials(pem.write(anchors), credential.key_pem, credential.chain_pem)
    async with grpc.aio.secure_channel(hub.mesh, credentials, options=CHANNEL_OPTIONS) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await IdentityServiceStub(channel).WhoAmI(pb.WhoAmIRequest(), timeout=TIMEOUT_S)
    assert caught.value.code() in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE}
    if caught.value.code() is grpc.StatusCode.UNAUTHENTICATED:
        assert caught.value.details() == REFUSED


async def test_a_certificate_of_a_node_that_never_joined_is_refused(hub: RealHub) -> None:
    now = SystemClock().now()
    key = new_key()
    issuer = HubFiles(hub.directory / "hub").authorities.load_node_issuer()
    chain = issuer.issue_node(key.public_key(), Identity(Role.ADMIN, NodeName("ghost")), now=now)
    ghost = StoredIdentity.of(Credential(key, chain))
    credentials = channel_credentials(ghost, hub.admin.load_anchors(now=now))
    async with grpc.aio.secure_channel(hub.mesh, credentials, options=CHANNEL_OPTIONS) as channel:
        error = await error_of(IdentityServiceStub(channel).WhoAmI(pb.WhoAmIRequest(), timeout=TIMEOUT_S))
    assert isinstance(error, Unauthenticated)


async def test_everybody_is_told_who_they_are(hub: RealHub) -> None:
    for name, role in (("den", Role.SPOKE), ("laptop", Role.APP)):
        channel = await hub.channel(await hub.join(name, role))
        answer = await IdentityServiceStub(channel).WhoAmI(pb.WhoAmIRequest())
        await channel.close()
        assert (answer.name, enums.ROLE.from_wire(answer.role)) == (name, role)


@pytest.mark.parametrize("role", [Role.SPOKE, Role.APP, Role.ADMIN])
async def test_every_call_that_the_table_does_not_give_a_role_is_denied(hub: RealHub, role: Role) -> None:
    channel = await hub.channel(await hub.join("someone", role))
    for method, roles in MESH_PORT.items():
        if role not in roles:
            error = await error_of(channel.unary_unary(method)(b"", timeout=TIMEOUT_S))
            assert type(error) is PermissionDenied, method
    await channel.close()


@pytest.mark.parametrize(
    "method",
    ["/hubspoke.api.admin.v1.AdminService/DropAllTables", "/grpc.health.v1.Health/Check", "/x/y"],
)
async def test_a_method_that_is_not_served_is_denied(hub: RealHub, method: str) -> None:
    channel = await hub.channel(hub.admin)
    assert isinstance(await error_of(channel.unary_unary(method)(b"", timeout=TIMEOUT_S)), PermissionDenied)
    await channel.close()
    async with anonymous(hub, hub.enrol) as outside:
        assert isinstance(
            await error_of(outside.unary_unary(method)(b"", timeout=TIMEOUT_S)), PermissionDenied
        )


async def test_the_enrol_port_serves_joining_and_nothing_else(hub: RealHub) -> None:
    async with anonymous(hub, hub.enrol) as channel:
        for method in MESH_PORT:
            error = await error_of(channel.unary_unary(method)(b"", timeout=TIMEOUT_S))
            assert isinstance(error, PermissionDenied)


async def join(hub: RealHub, token: JoinToken, request: bytes) -> enrolment_pb.JoinResponse:
    async with anonymous(hub, hub.enrol) as channel:
        return await EnrolmentServiceStub(channel).Join(
            enrolment_pb.JoinRequest(
                token_id=token.id, token_secret=token.secret, certificate_request=request
            ),
            timeout=TIMEOUT_S,
        )


async def test_a_token_lets_one_machine_in(hub: RealHub) -> None:
    token = await a_token(hub, "den")
    request = certificate_request(new_key())
    assert (await join(hub, token, request)).membership.name == "den"
    # Asked again with the same key, should the answer have been lost; with another one it is spent.
    assert (await join(hub, token, request)).membership.name == "den"
    assert isinstance(await error_of(join(hub, token, certificate_request(new_key()))), Unauthenticated)


async def test_a_wrong_secret_is_refused_and_does_not_spend_the_token(hub: RealHub) -> None:
    token = await a_token(hub, "den")
    forged = JoinToken(token.id, bytes(32), token.root, token.addresses)
    request = certificate_request(new_key())
    assert isinstance(await error_of(join(hub, forged, request)), Unauthenticated)
    assert (await join(hub, token, request)).membership.name == "den"


@pytest.mark.parametrize("request_", [b"", b"garbage", b"x" * 5_000])
async def test_a_bad_certificate_request_does_not_spend_the_token(hub: RealHub, request_: bytes) -> None:
    token = await a_token(hub, "den")
    assert isinstance(await error_of(join(hub, token, request_)), InvalidRequest)
    assert (await join(hub, token, certificate_request(new_key()))).membership.name == "den"


async def test_a_huge_request_is_refused_unread(hub: RealHub) -> None:
    token = await a_token(hub, "den")
    assert isinstance(await error_of(join(hub, token, b"x" * 100_000)), RequestTooLarge)


async def test_a_name_that_is_taken_gets_no_token(hub: RealHub) -> None:
    await hub.join("den", Role.SPOKE)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await a_token(hub, "den")
    assert isinstance(status.error_of(caught.value), AlreadyEnrolled)


@pytest.mark.parametrize("name", ["", "Den", "a" * 64, "../etc", "den.local", "-"])
async def test_a_name_that_is_none_gets_no_token(hub: RealHub, name: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await a_token(hub, name)
    assert isinstance(status.error_of(caught.value), InvalidRequest)


async def test_a_certificate_is_renewed_by_its_own_holder(hub: RealHub) -> None:
    files = await hub.join("laptop", Role.APP)
    channel = await hub.channel(files)
    stub = IdentityServiceStub(channel)
    request = pb.RenewRequest(certificate_request=certificate_request(new_key()))
    first = await stub.Renew(request)
    # The answer may have been lost: the same key gets the same certificate.
    assert (await stub.Renew(request)).certificate_chain == first.certificate_chain
    bundle = await stub.GetBundle(pb.GetBundleRequest())
    assert bundle.anchors == first.anchors
    assert bundle.bundle_generation == first.bundle_generation == 1
    await channel.close()
