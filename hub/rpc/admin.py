"""Operators: the spokes, and tokens for new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.admissions import TokenPlan
from hub.core import vram
from hub.rpc.interceptors import caller
from hubspoke.api.admin.v1 import admin_pb2 as pb
from hubspoke.api.admin.v1 import admin_pb2_grpc as rpc
from hubspoke.clock import time_of_day
from hubspoke.types import SpokeStatus
from hubspoke.wire import enums, fleet, times

if TYPE_CHECKING:
    import grpc

    from hub.admissions import Admissions
    from hub.core.types import Spoke
    from hub.relay.sessions import Sessions
    from hub.whereabouts import Whereabouts
    from hubspoke.clock import Clock


class AdminService(rpc.AdminServiceServicer):
    """Serves `ListSpokes` and `CreateJoinToken`."""

    def __init__(
        self, sessions: Sessions, admissions: Admissions, clock: Clock, whereabouts: Whereabouts
    ) -> None:
        self._sessions = sessions
        self._admissions = admissions
        self._clock = clock
        self._whereabouts = whereabouts

    def add_to(self, server: grpc.aio.Server) -> None:
        """Have *server* serve this."""
        rpc.add_AdminServiceServicer_to_server(self, server)

    async def ListSpokes(  # noqa: N802  # the proto names it
        self,
        _request: pb.ListSpokesRequest,
        _context: grpc.aio.ServicerContext[pb.ListSpokesRequest, pb.ListSpokesResponse],
    ) -> pb.ListSpokesResponse:
        """List the spokes, those that left or were lost included."""
        spokes = sorted(self._sessions.registry.spokes.values(), key=lambda spoke: spoke.id)
        return pb.ListSpokesResponse(spokes=[fleet.spoke_to_wire(self._status(spoke)) for spoke in spokes])

    async def CreateJoinToken(  # noqa: N802  # the proto names it
        self,
        request: pb.CreateJoinTokenRequest,
        _context: grpc.aio.ServicerContext[pb.CreateJoinTokenRequest, pb.CreateJoinTokenResponse],
    ) -> pb.CreateJoinTokenResponse:
        """Make a one-use join token."""
        plan = TokenPlan(
            name=request.name,
            role=enums.ROLE.from_wire(request.role),
            lifetime=times.span(request.lifetime) if request.HasField("lifetime") else None,
            needs_approval=request.needs_approval,
        )
        addresses = self._whereabouts.enrol_in_turn
        token = await self._admissions.create_token(plan, addresses, caller().identity.name)
        return pb.CreateJoinTokenResponse(token=token.text, expires_at=times.timestamp(token.expires_at))

    def _status(self, spoke: Spoke) -> SpokeStatus:
        slots, busy = self._sessions.streams(spoke.id)
        return SpokeStatus(
            name=spoke.id,
            state=spoke.state,
            agent_version=spoke.agent_version,
            registered_at=time_of_day(self._clock, spoke.registered_at),
            last_seen_at=time_of_day(self._clock, spoke.last_seen_at),
            slots=slots,
            busy=busy,
            inventory=spoke.inventory,
            reserved_bytes=sum(load.reserved_bytes for load in spoke.loads.values()),
            pools=vram.pools(spoke),
        )
