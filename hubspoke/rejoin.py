"""How a node comes back whose certificate has ended while it was away."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import grpc

from hubspoke.api.enrolment.v1 import enrolment_pb2 as pb
from hubspoke.api.enrolment.v1.enrolment_pb2_grpc import EnrolmentServiceStub
from hubspoke.channel import CHANNEL_OPTIONS
from hubspoke.credentials import anonymous_credentials
from hubspoke.enrol import ANSWER_TIMEOUT_S, adopted, never_arrived, why_not
from hubspoke.errors import AlreadyEnrolled, Unauthenticated, Unreachable
from hubspoke.wire import status
from pki import keys
from pki.proof import prove

if TYPE_CHECKING:
    from hubspoke.api.enrolment.v1.enrolment_pb2_grpc import EnrolmentServiceAsyncStub
    from hubspoke.clock import Clock
    from pki.credential import StoredIdentity
    from pki.files import NodeFiles
    from pki.keys import PrivateKey

TRIES: Final = 2
"""A certificate that was asked for long ago, and comes now, has ended as well: then once more."""

log = logging.getLogger(__name__)


async def valid_identity(files: NodeFiles, clock: Clock) -> StoredIdentity:
    """Read who this node is; if its certificate has ended, get a new one with the old one's key first.

    Raise a PkiError for bad files, Unreachable when no hub answers, and Unauthenticated when the hub does not want this node
    back, or when the clock of one of the two is wrong.
    """
    identity = await asyncio.to_thread(files.load_identity)
    for _ in range(TRIES):
        if clock.now() < identity.not_after:
            break
        log.info("certificate has ended", extra={"ended_at": identity.not_after.isoformat()})
        identity = await _rejoin(files, identity, clock)
    now = clock.now()
    if not identity.not_before <= now < identity.not_after:
        raise Unauthenticated(
            f"the certificate of {identity.identity.role} {identity.identity.name!r} is valid from "
            f"{identity.not_before:%Y-%m-%d %H:%M} to {identity.not_after:%Y-%m-%d %H:%M} UTC and it is "
            f"{now:%Y-%m-%d %H:%M} UTC here; set the clock of this machine, or of the hub's if that is wrong"
        )
    return identity


async def _rejoin(files: NodeFiles, current: StoredIdentity, clock: Clock) -> StoredIdentity:
    # The key first, as in `enrol.renew`.
    key = await asyncio.to_thread(files.request_key)
    stored = await asyncio.to_thread(files.load_identity)
    if stored.serial != current.serial:
        return stored
    membership = await _ask_each(files, current, key, clock)
    log.info("back in the mesh", extra={"node": membership.name})
    return await adopted(membership, files, clock, identity=current.identity)


async def _ask_each(
    files: NodeFiles, current: StoredIdentity, key: PrivateKey, clock: Clock
) -> pb.Membership:
    """Try the addresses of the enrol port in turn until a hub answers, whatever it answers."""
    credentials = anonymous_credentials(files.load_anchors(now=clock.now()))
    failures = []
    for address in files.load_addresses().enrol:
        try:
            async with grpc.aio.secure_channel(address, credentials, options=CHANNEL_OPTIONS) as channel:
                return await _ask(EnrolmentServiceStub(channel), files, current, key)
        except grpc.aio.AioRpcError as failure:
            error = status.error_of(failure)
            if isinstance(error, AlreadyEnrolled):
                files.end_joining()  # as in `enrol.renew`
            if not never_arrived(failure, error):
                raise error from failure
            failures.append(why_not(address, failure))
    raise Unreachable(
        f"the certificate of {current.identity.name!r} has ended, and no hub gives a new one: "
        f"{'; '.join(failures)}"
    )


async def _ask(
    hub: EnrolmentServiceAsyncStub, files: NodeFiles, current: StoredIdentity, key: PrivateKey
) -> pb.Membership:
    challenge = await hub.Challenge(pb.ChallengeRequest(), timeout=ANSWER_TIMEOUT_S)
    asks = keys.certificate_request(key)
    request = pb.RejoinRequest(
        serial=current.serial,
        nonce=challenge.nonce,
        certificate_request=asks,
        proof=prove(keys.key_from_pem(current.key_pem), challenge.nonce, asks),
        held_generation=files.load_generation(),
    )
    response = await hub.Rejoin(request, timeout=ANSWER_TIMEOUT_S)
    return response.membership
