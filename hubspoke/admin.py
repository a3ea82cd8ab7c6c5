"""What the people who run the mesh may do on top of asking: see the spokes, and let new ones in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hubspoke.api.admin.v1 import admin_pb2 as pb
from hubspoke.api.admin.v1.admin_pb2_grpc import AdminServiceStub
from hubspoke.client import CALL_TIMEOUT_S, MeshClient
from hubspoke.wire import enums, fleet, times

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from datetime import datetime, timedelta

    import grpc

    from hubspoke.types import SpokeStatus
    from pki.identity import Role


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A join token as one line, and when it can no longer be used."""

    text: str = field(repr=False)
    expires_at: datetime


class AdminClient(MeshClient):
    """A connection to the mesh with an admin's identity; everybody else gets PermissionDenied."""

    async def spokes(self) -> tuple[SpokeStatus, ...]:
        """List the spokes by name, those that left or were lost included."""
        response = await self._connection.call(_list_spokes)
        return tuple(fleet.spoke_from_wire(message) for message in response.spokes)

    async def create_join_token(
        self, name: str, role: Role, lifetime: timedelta | None = None
    ) -> IssuedToken:
        """Make a one-use token that lets *name* join as *role*; without a *lifetime* the hub chooses.

        Raise InvalidRequest for a name, role or lifetime that the hub does not take.
        """
        request = pb.CreateJoinTokenRequest(
            name=name,
            role=enums.ROLE.to_wire(role),
            lifetime=None if lifetime is None else times.duration(lifetime.total_seconds()),
        )

        def ask(channel: grpc.aio.Channel) -> Awaitable[pb.CreateJoinTokenResponse]:
            return AdminServiceStub(channel).CreateJoinToken(request, timeout=CALL_TIMEOUT_S)

        response = await self._connection.call(ask)
        return IssuedToken(response.token, times.moment(response.expires_at, "expires_at"))


def _list_spokes(channel: grpc.aio.Channel) -> Awaitable[pb.ListSpokesResponse]:
    return AdminServiceStub(channel).ListSpokes(pb.ListSpokesRequest(), timeout=CALL_TIMEOUT_S)
