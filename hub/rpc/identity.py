"""How a node keeps its certificate fresh."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.rpc.interceptors import caller
from hubspoke.api.identity.v1 import identity_pb2 as pb
from hubspoke.api.identity.v1 import identity_pb2_grpc as rpc
from hubspoke.wire import enums, times

if TYPE_CHECKING:
    import grpc

    from hub.identities import Identities
    from hub.whereabouts import Whereabouts
    from hubspoke.clock import Clock


class IdentityService(rpc.IdentityServiceServicer):
    """Serves `WhoAmI`, `GetBundle` and `Renew`; each caller for itself."""

    def __init__(self, identities: Identities, whereabouts: Whereabouts, clock: Clock) -> None:
        self._identities = identities
        self._whereabouts = whereabouts
        self._clock = clock

    def add_to(self, server: grpc.aio.Server) -> None:
        """Have *server* serve this."""
        rpc.add_IdentityServiceServicer_to_server(self, server)

    async def WhoAmI(  # noqa: N802  # the proto names it
        self,
        _request: pb.WhoAmIRequest,
        _context: grpc.aio.ServicerContext[pb.WhoAmIRequest, pb.WhoAmIResponse],
    ) -> pb.WhoAmIResponse:
        """Say who the hub takes the caller for."""
        peer = caller()
        return pb.WhoAmIResponse(
            role=enums.ROLE.to_wire(peer.identity.role),
            name=peer.identity.name,
            serial=peer.serial_hex,
            expires_at=times.timestamp(peer.not_after),
            hub_time=times.timestamp(self._clock.now()),
        )

    async def GetBundle(  # noqa: N802  # the proto names it
        self,
        request: pb.GetBundleRequest,
        _context: grpc.aio.ServicerContext[pb.GetBundleRequest, pb.GetBundleResponse],
    ) -> pb.GetBundleResponse:
        """Give the roots that a node is to trust and where the hubs are, and hear which roots it has."""
        await self._identities.ack(caller(), request.held_generation)
        return pb.GetBundleResponse(
            anchors=self._identities.anchors_pem,
            bundle_generation=self._identities.generation,
            renew=self._identities.should_renew(caller()),
            mesh_addresses=self._whereabouts.mesh,
            enrol_addresses=self._whereabouts.enrol,
        )

    async def Renew(  # noqa: N802  # the proto names it
        self, request: pb.RenewRequest, _context: grpc.aio.ServicerContext[pb.RenewRequest, pb.RenewResponse]
    ) -> pb.RenewResponse:
        """Trade the caller's current certificate for a new one to a new key."""
        issued = await self._identities.renew(caller(), request.certificate_request, request.held_generation)
        return pb.RenewResponse(
            certificate_chain=issued.chain_pem,
            anchors=issued.anchors_pem,
            bundle_generation=issued.generation,
        )
