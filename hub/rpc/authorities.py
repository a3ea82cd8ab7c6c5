"""Operators: what signs the mesh's certificates, and its exchange."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.rpc.interceptors import caller
from hubspoke.api.authorities.v1 import authorities_pb2 as pb
from hubspoke.api.authorities.v1 import authorities_pb2_grpc as rpc
from hubspoke.wire import authorities as wire
from hubspoke.wire import enums

if TYPE_CHECKING:
    import grpc

    from hub.authorities import Authorities


class AuthoritiesService(rpc.AuthoritiesServiceServicer):
    """Serves `GetAuthorities`, `BeginRotation`, `AdvanceRotation` and `RollBackRotation`."""

    def __init__(self, authorities: Authorities) -> None:
        self._authorities = authorities

    def add_to(self, server: grpc.aio.Server) -> None:
        """Have *server* serve this."""
        rpc.add_AuthoritiesServiceServicer_to_server(self, server)

    async def GetAuthorities(  # noqa: N802  # the proto names it
        self,
        _request: pb.GetAuthoritiesRequest,
        _context: grpc.aio.ServicerContext[pb.GetAuthoritiesRequest, pb.GetAuthoritiesResponse],
    ) -> pb.GetAuthoritiesResponse:
        """Say how things are."""
        return pb.GetAuthoritiesResponse(authorities=wire.to_wire(await self._authorities.status()))

    async def BeginRotation(  # noqa: N802  # the proto names it
        self,
        request: pb.BeginRotationRequest,
        _context: grpc.aio.ServicerContext[pb.BeginRotationRequest, pb.BeginRotationResponse],
    ) -> pb.BeginRotationResponse:
        """Begin an exchange."""
        kind = enums.ROTATION_KIND.from_wire(request.kind)
        info = await self._authorities.begin(kind, request.fingerprint, by=caller().identity.name)
        return pb.BeginRotationResponse(authorities=wire.to_wire(info))

    async def AdvanceRotation(  # noqa: N802  # the proto names it
        self,
        request: pb.AdvanceRotationRequest,
        _context: grpc.aio.ServicerContext[pb.AdvanceRotationRequest, pb.AdvanceRotationResponse],
    ) -> pb.AdvanceRotationResponse:
        """Go into the next phase."""
        info, left_behind = await self._authorities.advance(
            enums.ROTATION_KIND.from_wire(request.kind),
            enums.ROTATION_PHASE.from_wire(request.phase),
            by=caller().identity.name,
            force=request.force,
        )
        return pb.AdvanceRotationResponse(authorities=wire.to_wire(info), left_behind=left_behind)

    async def RollBackRotation(  # noqa: N802  # the proto names it
        self,
        request: pb.RollBackRotationRequest,
        _context: grpc.aio.ServicerContext[pb.RollBackRotationRequest, pb.RollBackRotationResponse],
    ) -> pb.RollBackRotationResponse:
        """Turn round."""
        info = await self._authorities.roll_back(
            enums.ROTATION_KIND.from_wire(request.kind),
            enums.ROTATION_PHASE.from_wire(request.phase),
            by=caller().identity.name,
        )
        return pb.RollBackRotationResponse(authorities=wire.to_wire(info))
