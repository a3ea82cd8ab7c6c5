"""How a machine or an app comes by its certificate, and by the next one."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import grpc

from hubspoke.api.enrolment.v1 import enrolment_pb2 as enrolment
from hubspoke.api.enrolment.v1.enrolment_pb2_grpc import EnrolmentServiceStub
from hubspoke.api.identity.v1 import identity_pb2 as identity_pb
from hubspoke.api.identity.v1.identity_pb2_grpc import IdentityServiceStub
from hubspoke.channel import CHANNEL_OPTIONS
from hubspoke.credentials import anonymous_credentials
from hubspoke.errors import (
    AlreadyEnrolled,
    InvalidRequest,
    MeshError,
    ProtocolViolation,
    RateLimited,
    Unreachable,
)
from hubspoke.wire import status, times
from pki import bundle, keys, pem, policy
from pki.address import TOLD_MAX, parse_address
from pki.errors import BadAddress, BadBundle, PkiError
from pki.files import HubAddresses, NodeFiles
from pki.tokens import JoinToken

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from hubspoke.api.enrolment.v1.enrolment_pb2_grpc import EnrolmentServiceAsyncStub
    from hubspoke.clock import Clock
    from pki.address import Address
    from pki.credential import StoredIdentity
    from pki.identity import Identity, Role
    from pki.keys import PrivateKey

T = TypeVar("T")

ANSWER_TIMEOUT_S: Final = 10.0
"""Deadline of a try at one address, connection included."""

APPROVAL_POLL_S: Final = 2.0
"""How often a machine asks whether an operator has approved it."""

RENEW_TIMEOUT_S: Final = 10.0

KEPT_MAX: Final = 8
"""Addresses of one port that a node keeps although no hub tells them any more."""

# What gRPC says when TLS itself worked and the certificate did not: there is a server, but not this hub.
_NOT_THE_HUB: Final = ("CERTIFICATE_VERIFY_FAILED", "Hostname Verification")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pending:
    """A machine that waits for an operator: its name, the fingerprint of its key, and until when it may wait."""

    name: str
    key: str
    until: datetime


async def join(
    token_text: str,
    directory: Path,
    *,
    roles: Iterable[Role],
    clock: Clock,
    replace: bool = False,
    waiting: Callable[[Pending], None] = lambda _: None,
) -> StoredIdentity:
    """Trade a join token for an identity and store it in *directory*.

    The token must be for one of *roles*. Its secret goes only to a hub that the token's own anchor has verified. Where an
    operator has to approve, tell *waiting*, and wait. Whoever is interrupted goes on with the same token, which lies in
    *directory* until then.

    Raise `BadToken` before anything is sent, `AlreadyEnrolled` when a valid identity lies there and *replace* is
    not set, `Unreachable` when no address of the token leads to the hub, and what the hub refuses with.
    """
    token = JoinToken.parse(token_text)
    files = NodeFiles(directory)
    if not replace:
        _require_vacant(files, clock)
    key = await asyncio.to_thread(files.begin_joining, token.text)
    try:
        membership = await _membership(token, key, waiting)
        _check(membership, token, frozenset(roles))
    except (Unreachable, RateLimited):
        raise  # the answer may have got lost: the next try asks with the same key
    except (MeshError, PkiError):
        files.end_joining()
        raise
    return await adopted(membership, files, clock, enrol=token.addresses)


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
    held_generation = await asyncio.to_thread(files.load_generation)
    request = identity_pb.RenewRequest(
        certificate_request=keys.certificate_request(key), held_generation=held_generation
    )
    try:
        response = await IdentityServiceStub(channel).Renew(request, timeout=RENEW_TIMEOUT_S)
    except grpc.aio.AioRpcError as failure:
        error = status.error_of(failure)
        if isinstance(error, AlreadyEnrolled):
            files.end_joining()  # the key was used for something else; the next try makes a new one
        raise error from failure
    if _identity(response.certificate_chain) != current.identity:
        raise ProtocolViolation("the hub renewed the certificate of somebody else; update the hub")
    return await asyncio.to_thread(
        files.adopt,
        response.certificate_chain,
        response.anchors,
        now=clock.now(),
        generation=response.bundle_generation,
    )


async def catch_up(channel: grpc.aio.Channel, files: NodeFiles, clock: Clock) -> bool:
    """Take over the roots that the hub has now, tell it so, and say whether it wants the certificate renewed.

    Where the hubs are is written down, for when this one is gone.
    """
    hub = IdentityServiceStub(channel)
    held = await asyncio.to_thread(files.load_generation)
    try:
        response = await hub.GetBundle(
            identity_pb.GetBundleRequest(held_generation=held), timeout=RENEW_TIMEOUT_S
        )
        if response.bundle_generation != held:
            await asyncio.to_thread(
                files.save_anchors, response.anchors, response.bundle_generation, now=clock.now()
            )
            stored = identity_pb.GetBundleRequest(held_generation=response.bundle_generation)
            await hub.GetBundle(stored, timeout=RENEW_TIMEOUT_S)
    except grpc.aio.AioRpcError as failure:
        raise status.error_of(failure) from failure
    told = HubAddresses(_usable(response.mesh_addresses), _usable(response.enrol_addresses))
    if told.mesh and told.enrol:
        await asyncio.to_thread(_learn, files, told)
    return response.renew


def _learn(files: NodeFiles, told: HubAddresses) -> None:
    if not files.hub.exists():
        return  # whoever says by hand where the hub is keeps to that
    try:
        known = files.load_addresses()
    except BadBundle as error:
        log.warning("addresses of hubs damaged, and written anew", extra={"why": str(error)})
        known = HubAddresses((), ())
    new = HubAddresses(together(known.mesh, told.mesh), together(known.enrol, told.enrol))
    if new != known:
        files.save_addresses(new)


def together(known: Sequence[Address], told: Sequence[Address]) -> tuple[Address, ...]:
    """Put what was *told* before what is *known* besides; of the latter, those go that were told the longest time ago.

    Some stay: a hub may not know of every way that leads to it, and only this node knows which one it came by.
    """
    kept = [each for each in dict.fromkeys(known) if each not in told]
    return (*told, *kept[:KEPT_MAX])


async def adopted(
    membership: enrolment.Membership,
    files: NodeFiles,
    clock: Clock,
    *,
    enrol: tuple[Address, ...] | None = None,
    identity: Identity | None = None,
) -> StoredIdentity:
    """Take a certificate that came over the enrol port into use; without *enrol* those addresses stay as they are.

    Raise ProtocolViolation when it is not for *identity*.
    """
    if identity is not None and _identity(membership.certificate_chain) != identity:
        raise ProtocolViolation("the hub renewed the certificate of somebody else; update the hub")
    mesh = _addresses(membership.mesh_addresses)
    if enrol is None:
        enrol = (await asyncio.to_thread(files.load_addresses)).enrol
    await asyncio.to_thread(files.save_addresses, HubAddresses(mesh=mesh, enrol=enrol))
    return await asyncio.to_thread(
        files.adopt,
        membership.certificate_chain,
        membership.anchors,
        now=clock.now(),
        generation=membership.bundle_generation,
    )


async def _membership(
    token: JoinToken, key: PrivateKey, waiting: Callable[[Pending], None]
) -> enrolment.Membership:
    """Ask until the hub has said yes or no."""
    shown = {
        "token_id": token.id,
        "token_secret": token.secret,
        "certificate_request": keys.certificate_request(key),
    }
    join = enrolment.JoinRequest(**shown)  # type: ignore[arg-type]
    answer: enrolment.JoinResponse | enrolment.JoinStatusResponse
    answer = await _ask_each(token, lambda hub: hub.Join(join, timeout=ANSWER_TIMEOUT_S))
    if answer.HasField("waiting"):
        ends_at = times.moment(answer.waiting.expires_at, "expires_at")
        waiting(Pending(answer.waiting.name, keys.fingerprint(keys.key_digest(key.public_key())), ends_at))
    status_request = enrolment.JoinStatusRequest(**shown)  # type: ignore[arg-type]
    while answer.HasField("waiting"):
        await asyncio.sleep(APPROVAL_POLL_S)
        with suppress(Unreachable, RateLimited):  # the hub may be starting again; it knows who waits
            answer = await _ask_each(
                token, lambda hub: hub.JoinStatus(status_request, timeout=ANSWER_TIMEOUT_S)
            )
    return answer.membership


def _check(membership: enrolment.Membership, token: JoinToken, roles: frozenset[Role]) -> None:
    """Raise unless the answer is what the token was for; whether it belongs to our key, `adopt` checks."""
    who = _identity(membership.certificate_chain)
    # While roots are exchanged, the certificate may lead to the one that comes; the hub that says so was verified by ours.
    if pem.write((token.root,)) not in membership.anchors:
        raise ProtocolViolation("the hub's answer is for another mesh than the token; ask for a new token")
    if who.name != membership.name:
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


async def _ask_each(token: JoinToken, ask: Callable[[EnrolmentServiceAsyncStub], Awaitable[T]]) -> T:
    """Try the token's addresses in turn until a hub answers, whatever it answers."""
    credentials = anonymous_credentials((token.root,))
    failures = []
    for address in token.addresses:
        try:
            async with grpc.aio.secure_channel(address, credentials, options=CHANNEL_OPTIONS) as channel:
                return await ask(EnrolmentServiceStub(channel))
        except grpc.aio.AioRpcError as failure:
            error = status.error_of(failure)
            if not never_arrived(failure, error):
                raise error from failure
            failures.append(why_not(address, failure))
    raise Unreachable("; ".join(failures))


def never_arrived(failure: grpc.aio.AioRpcError, error: MeshError) -> bool:
    """Whether no hub has said anything, so that another address may be tried."""
    return isinstance(error, Unreachable) or failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def why_not(address: Address, failure: grpc.aio.AioRpcError) -> str:
    """Say why no hub has answered at *address*."""
    details = failure.details() or ""
    if any(sign in details for sign in _NOT_THE_HUB):
        return (
            f"{address} is not the hub of this mesh, or has another root by now than when the token was made or this machine "
            "last came, or the clock of one of the two is wrong; nothing was sent. If it is the hub, ask for a new token"
        )
    return f"{address} does not answer; is hub-server running there, and its enrol port open?"


def _identity(chain_pem: bytes) -> Identity:
    return policy.identity_of(bundle.parse_chain(chain_pem).leaf)


def _addresses(texts: Sequence[str]) -> tuple[Address, ...]:
    if not (addresses := _usable(texts)):
        raise ProtocolViolation(f"none of the {len(texts)} addresses that the hub gave can be used")
    return addresses


def _usable(texts: Sequence[str]) -> tuple[Address, ...]:
    """Give the addresses of *texts*, each once and no more than a hub tells; one that is none costs nothing but a log line."""
    addresses: dict[Address, None] = {}
    for text in texts[:TOLD_MAX]:
        try:
            addresses[parse_address(text)] = None
        except BadAddress as error:
            log.warning("address of a hub left out", extra={"why": str(error)})
    if len(texts) > TOLD_MAX:
        log.warning("addresses of hubs left out", extra={"told": len(texts), "taken": TOLD_MAX})
    return tuple(addresses)
