"""The enrol port: a token and a key become a certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hubspoke.api.enrolment.v1 import enrolment_pb2 as pb
from hubspoke.api.enrolment.v1 import enrolment_pb2_grpc as rpc

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc

    from hub.identities import Identities
    from pki.address import Address


class EnrolmentService(rpc.EnrolmentServiceServicer):
    """Serves `Join`."""

    def __init__(self, identities: Identities, mesh_addresses: Sequence[Address]) -> None:
        self._identities = identities
        self._mesh_addresses = tuple(mesh_addresses)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Have *server* serve this."""
        rpc.add_EnrolmentServiceServicer_to_server(self, server)

    async def Join(  # noqa: N802  # the proto names it
        self, request: pb.JoinRequest, _context: grpc.aio.ServicerContext[pb.JoinRequest, pb.JoinResponse]
    ) -> pb.JoinResponse:
        """Trade a one-use join token and a certificate signing request for a certificate."""
        issued = await self._identities.join(
            request.token_id, request.token_secret, request.certificate_request
        )
        return pb.JoinResponse(
            certificate_chain=issued.chain_pem,
            anchors=issued.anchors_pem,
            mesh_addresses=self._mesh_addresses,
            name=issued.name,
        )
