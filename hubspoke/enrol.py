"""How a machine or an app comes by its certificate, and by the next one."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import grpc

from hubspoke.api.enrolment.v1 import enrolment_pb2 as enrolment
from hubspoke.api.enrolment.v1.enrolment_pb2_grpc import EnrolmentServiceStub
from hubspoke.api.identity.v1 import identity_pb2 as identity_pb
from hubspoke.api.identity.v1.identity_pb2_grpc import IdentityServiceStub
from hubspoke.channel import CHANNEL_OPTIONS
from hubspoke.credentials import anonymous_credentials
from hubspoke.errors import AlreadyEnrolled, InvalidRequest, MeshError, ProtocolViolation, Unreachable
from hubspoke.wire import status
from pki import bundle, keys, policy
from pki.address import parse_address
from pki.errors import BadAddress, PkiError
from pki.files import HubAddresses, NodeFiles
from pki.tokens import JoinToken

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from hubspoke.clock import Clock
    from pki.address import Address
    from pki.credential import StoredIdentity
    from pki.identity import Identity, Role

JOIN_TIMEOUT_S: Final = 10.0
"""Deadline of a try at one address, connection included."""

RENEW_TIMEOUT_S: Final = 10.0
MESH_ADDRESSES_MAX: Final = 16

# What gRPC says when TLS itself worked and the certificate did not: there is a server, but not this hub.
_NOT_THE_HUB: Final = ("CERTIFICATE_VERIFY_FAILED", "Hostname Verification")


async def join(
    token_text: str, directory: Path, *, roles: Iterable[Role], clock: Clock, replace: bool = False
) -> StoredIdentity:
    """Trade a join token for an identity and store it in *directory*.

    The token must be for one of *roles*. Its secret goes only to a hub that the token's own anchor has verified.
    Raise `BadToken` before anything is sent, `AlreadyEnrolled` when a valid identity lies there and *replace* is
    not set, `Unreachable` when no address of the token leads to the hub, and what the hub refuses with.
    """
    token = JoinToken.parse(token_text)
    files = NodeFiles(directory)
    if not replace:
        _require_vacant(files, clock)
    key = await asyncio.to_thread(files.request_key)
    request = enrolment.JoinRequest(
        token_id=token.id, token_secret=token.secret, certificate_request=keys.certificate_request(key)
    )
    try:
        response = await _ask_each(token, request)
        _check(response, token, frozenset(roles))
    except Unreachable:
        raise  # the answer may have got lost: the next try asks with the same key
    except (MeshError, PkiError):
        files.next_key.unlink(missing_ok=True)
        raise
    addresses = HubAddresses(mesh=_addresses(response.mesh_addresses), enrol=token.addresses)
    await asyncio.to_thread(files.save_addresses, addresses)
    return await asyncio.to_thread(files.adopt, response.certificate_chain, response.anchors, now=clock.now())


async def renew(
    channel: grpc.aio.Channel, files: NodeFiles, current: StoredIdentity, clock: Clock
) -> StoredIdentity:
    """Get the certificate after *current*, over a *channel* that *current* opened, and store it.

    An answer that got lost is asked for again with the same key, to which the hub gives the same certificate. When
    another process with the same identity was faster, what it has stored is the result.
    """
    # The key first: whoever stores a certificate removes the key only afterwards, so that one of two processes
    # either shares the other's key or sees its certificate. Two keys for one renewal would look like a theft.
    key = await asyncio.to_thread(files.request_key)
    stored = await asyncio.to_thread(files.load_identity)
    if stored.serial != current.serial:
        return stored
    request = identity_pb.RenewRequest(certificate_request=keys.certificate_request(key))
    try:
        response = await IdentityServiceStub(channel).Renew(request, timeout=RENEW_TIMEOUT_S)
    except grpc.aio.AioRpcError as failure:
        raise status.error_of(failure) from failure
    if _identity(response.certificate_chain) != current.identity:
        raise ProtocolViolation("the hub renewed the certificate of somebody else; update the hub")
    return await asyncio.to_thread(files.adopt, response.certificate_chain, response.anchors, now=clock.now())


def _check(response: enrolment.JoinResponse, token: JoinToken, roles: frozenset[Role]) -> None:
    """Raise unless the answer is what the token was for; whether it belongs to our key, `adopt` checks."""
    who = _identity(response.certificate_chain)
    bundle.require_anchored(bundle.parse_chain(response.certificate_chain), (token.root,))
    if who.name != response.name:
        raise ProtocolViolation("the hub's answer and its certificate name different nodes; update the hub")
    if who.role not in roles:
        wanted = " or ".join(sorted(roles))
        raise InvalidRequest(f"the token was for a {who.role}; ask for one for a role of {wanted}")


def _require_vacant(files: NodeFiles, clock: Clock) -> None:
    with suppress(PkiError):  # none there, or a damaged one: nothing to lose
        current = files.load_identity()
        if clock.now() < current.not_after:
            raise AlreadyEnrolled(
                f"there is a valid identity already: {current.identity.role} {current.identity.name!r}; use another "
                "state directory to keep both, or say that it is to be replaced"
            )


async def _ask_each(token: JoinToken, request: enrolment.JoinRequest) -> enrolment.JoinResponse:
    """Try the token's addresses in turn until a hub answers, whatever it answers."""
    credentials = anonymous_credentials((token.root,))
    failures = []
    for address in token.addresses:
        try:
            return await _ask(address, credentials, request)
        except grpc.aio.AioRpcError as failure:
            error = status.error_of(failure)
            if not _never_arrived(failure, error):
                raise error from failure
            failures.append(_why(address, failure))
    raise Unreachable("; ".join(failures))


async def _ask(
    address: Address, credentials: grpc.ChannelCredentials, request: enrolment.JoinRequest
) -> enrolment.JoinResponse:
    async with grpc.aio.secure_channel(address, credentials, options=CHANNEL_OPTIONS) as channel:
        return await EnrolmentServiceStub(channel).Join(request, timeout=JOIN_TIMEOUT_S)


def _never_arrived(failure: grpc.aio.AioRpcError, error: MeshError) -> bool:
    return isinstance(error, Unreachable) or failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def _why(address: Address, failure: grpc.aio.AioRpcError) -> str:
    details = failure.details() or ""
    if any(sign in details for sign in _NOT_THE_HUB):
        return (
            f"{address} is not the hub that made this token, or the clock of one of the two is wrong; "
            "the token's secret was not sent"
        )
    return f"{address} does not answer; is hub-server running there, and its enrol port open?"


def _identity(chain_pem: bytes) -> Identity:
    return policy.identity_of(bundle.parse_chain(chain_pem).leaf)


def _addresses(texts: Iterable[str]) -> tuple[Address, ...]:
    try:
        addresses = tuple(parse_address(text) for text in texts)
    except BadAddress as error:
        raise ProtocolViolation(f"the hub gave an address that is none: {error}") from error
    if not 1 <= len(addresses) <= MESH_ADDRESSES_MAX:
        raise ProtocolViolation(
            f"the hub gave {len(addresses)} addresses; 1 to {MESH_ADDRESSES_MAX} make sense"
        )
    return addresses
