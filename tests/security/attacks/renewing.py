"""Who renews a certificate that somebody else renews too, or renews without end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from hubspoke.admin import AdminClient
from hubspoke.api.identity.v1 import identity_pb2 as pb
from hubspoke.api.identity.v1.identity_pb2_grpc import IdentityServiceStub
from hubspoke.errors import RateLimited, Unauthenticated
from hubspoke.types import NodeState
from pki import bundle
from pki.credential import Credential
from pki.identity import Role
from pki.keys import certificate_request, new_key
from tests.security.cases import Layer, case
from tests.security.yard import CALL_S, refused, refused_with, stored, who_am_i

if TYPE_CHECKING:
    from pki.keys import PrivateKey
    from tests.security.yard import Yard

FLOOD = 200
"""Renewals in a row: a day has two."""


@case(49, "a thief who renews a certificate that its owner has renewed", Layer.ENROL)
async def thief(yard: Yard) -> str:
    stolen = stored(await yard.node(Role.APP))
    newest = await renewed(yard, stolen, new_key())
    async with yard.channel(stolen) as channel:
        text = await refused_with(renew(channel, new_key()), Unauthenticated)
    # Nobody can tell the thief from the owner: both are out until somebody has looked.
    async with yard.channel(newest) as channel:
        await refused(who_am_i(channel), grpc.StatusCode.UNAUTHENTICATED)
    name = yard.name_of(newest)
    async with AdminClient(yard.hub.admin.directory) as admin:
        states = {node.identity.name: node.state for node in await admin.nodes()}
        assert states[name] is NodeState.LOCKED
        await admin.unlock(name)
    async with yard.channel(newest) as channel:
        await who_am_i(channel)
    return text


@case(50, "an answer that got lost, and is asked for again", Layer.ENROL)
async def lost_answer(yard: Yard) -> str:
    own, key = stored(await yard.node(Role.APP)), new_key()
    first, second = await renewed(yard, own, key), await renewed(yard, own, key)
    assert first.chain_pem == second.chain_pem
    return "no second certificate: the same one again"


@case(51, f"{FLOOD} renewals in a row", Layer.LIMIT)
async def flood(yard: Yard) -> str:
    own, key = stored(await yard.node(Role.APP)), new_key()
    async with yard.channel(own) as channel:
        return await refused_with(without_end(channel, key), RateLimited)


async def without_end(channel: grpc.aio.Channel, key: PrivateKey) -> None:
    for _ in range(FLOOD):
        await renew(channel, key)


async def renew(channel: grpc.aio.Channel, key: PrivateKey) -> pb.RenewResponse:
    request = pb.RenewRequest(certificate_request=certificate_request(key))
    return await IdentityServiceStub(channel).Renew(request, timeout=CALL_S)


async def renewed(yard: Yard, own: Credential, key: PrivateKey) -> Credential:
    """Renew as *own*, with *key*, and give the next credential."""
    async with yard.channel(own) as channel:
        response = await renew(channel, key)
    return Credential(key, bundle.parse_chain(response.certificate_chain))
