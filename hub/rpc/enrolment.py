"""The enrol port: a token and a key become a certificate, and who was away for long comes back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hub.admissions import Comeback
from hub.identities import Issued
from hubspoke.api.enrolment.v1 import enrolment_pb2 as pb
from hubspoke.api.enrolment.v1 import enrolment_pb2_grpc as rpc
from hubspoke.wire import times

if TYPE_CHECKING:
    import grpc

    from hub.admissions import Admissions
    from hub.store.tokens import Waiting
    from hub.whereabouts import Whereabouts


class EnrolmentService(rpc.EnrolmentServiceServicer):
    """Serves `Join`, `JoinStatus`, `Challenge` and `Rejoin` to whoever asks."""

    def __init__(self, admissions: Admissions, whereabouts: Whereabouts) -> None:
        self._admissions = admissions
        self._whereabouts = whereabouts

    def add_to(self, server: grpc.aio.Server) -> None:
        """Have *server* serve this."""
        rpc.add_EnrolmentServiceServicer_to_server(self, server)

    async def Join(  # noqa: N802  # the proto names it
        self, request: pb.JoinRequest, _context: grpc.aio.ServicerContext[pb.JoinRequest, pb.JoinResponse]
    ) -> pb.JoinResponse:
        """Trade a one-use join token and a certificate signing request for a certificate, or a place in the queue."""
        found = await self._admissions.join(
            request.token_id, request.token_secret, request.certificate_request
        )
        if isinstance(found, Issued):
            return pb.JoinResponse(membership=self._membership(found))
        return pb.JoinResponse(waiting=_waiting(found))

    async def JoinStatus(  # noqa: N802  # the proto names it
        self,
        request: pb.JoinStatusRequest,
        _context: grpc.aio.ServicerContext[pb.JoinStatusRequest, pb.JoinStatusResponse],
    ) -> pb.JoinStatusResponse:
        """Say what has become of a Join."""
        found = await self._admissions.status(
            request.token_id, request.token_secret, request.certificate_request
        )
        if isinstance(found, Issued):
            return pb.JoinStatusResponse(membership=self._membership(found))
        return pb.JoinStatusResponse(waiting=_waiting(found))

    async def Challenge(  # noqa: N802  # the proto names it
        self,
        _request: pb.ChallengeRequest,
        _context: grpc.aio.ServicerContext[pb.ChallengeRequest, pb.ChallengeResponse],
    ) -> pb.ChallengeResponse:
        """Give a number to be signed."""
        return pb.ChallengeResponse(nonce=self._admissions.challenge())

    async def Rejoin(  # noqa: N802  # the proto names it
        self,
        request: pb.RejoinRequest,
        _context: grpc.aio.ServicerContext[pb.RejoinRequest, pb.RejoinResponse],
    ) -> pb.RejoinResponse:
        """Trade a certificate that has ended for a new one."""
        comeback = Comeback(
            serial=request.serial,
            nonce=request.nonce,
            request_der=request.certificate_request,
            proof=request.proof,
            held_generation=request.held_generation,
        )
        issued = await self._admissions.rejoin(comeback)
        return pb.RejoinResponse(membership=self._membership(issued))

    def _membership(self, issued: Issued) -> pb.Membership:
        return pb.Membership(
            certificate_chain=issued.chain_pem,
            anchors=issued.anchors_pem,
            bundle_generation=issued.generation,
            mesh_addresses=self._whereabouts.mesh,
            name=issued.name,
        )


def _waiting(waiting: Waiting) -> pb.Waiting:
    ends_at = datetime.fromtimestamp(waiting.expires_at, UTC)
    return pb.Waiting(name=waiting.identity.name, expires_at=times.timestamp(ends_at))
