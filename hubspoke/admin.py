"""What the people who run the mesh may do on top of asking: see the spokes, let new ones in, and move models."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hubspoke.api.admin.v1 import admin_pb2 as pb
from hubspoke.api.admin.v1.admin_pb2_grpc import AdminServiceStub
from hubspoke.api.authorities.v1 import authorities_pb2 as authorities_pb
from hubspoke.api.authorities.v1.authorities_pb2_grpc import AuthoritiesServiceStub
from hubspoke.api.keys.v1 import keys_pb2 as keys_pb
from hubspoke.api.keys.v1.keys_pb2_grpc import KeysServiceStub
from hubspoke.api.models.v1 import models_pb2 as models_pb
from hubspoke.api.models.v1.models_pb2_grpc import ModelsServiceStub
from hubspoke.api.nodes.v1 import nodes_pb2 as nodes_pb
from hubspoke.api.nodes.v1.nodes_pb2_grpc import NodesServiceStub
from hubspoke.client import CALL_TIMEOUT_S, MeshClient
from hubspoke.connection import whole
from hubspoke.types import InMemory, Pulled, SpokeId
from hubspoke.wire import authorities, enums, fleet, keys, nodes, times, upkeep
from hubspoke.wire.sendable import sendable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable
    from datetime import datetime, timedelta

    import grpc

    from hubspoke.types import (
        AuthoritiesInfo,
        IssuedKey,
        KeyInfo,
        KeyPlan,
        LoadEvent,
        NodeInfo,
        PullEvent,
        SpokeStatus,
    )
    from pki.identity import Role
    from pki.rotation import Kind, Phase

ROTATION_TIMEOUT_S: Final = 30.0
"""Longer than the hub waits between two swaps of what its ports show."""
UNLOAD_TIMEOUT_S: Final = 60.0
DELETE_TIMEOUT_S: Final = 90.0
"""Longer than the hub waits for a spoke, so that its own word on it arrives."""


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
        self, name: str, role: Role, lifetime: timedelta | None = None, *, needs_approval: bool = False
    ) -> IssuedToken:
        """Make a one-use token that lets *name* join as *role*; without a *lifetime* the hub chooses.

        With *needs_approval* its holder waits until `approve`; a hub may ask that of everybody. Raise InvalidRequest for a name, role or lifetime that the hub does not take.
        """
        with sendable():
            request = pb.CreateJoinTokenRequest(
                name=name,
                role=enums.ROLE.to_wire(role),
                lifetime=None if lifetime is None else times.duration(lifetime.total_seconds()),
                needs_approval=needs_approval,
            )

        def ask(channel: grpc.aio.Channel) -> Awaitable[pb.CreateJoinTokenResponse]:
            return AdminServiceStub(channel).CreateJoinToken(request, timeout=CALL_TIMEOUT_S)

        response = await self._connection.call(ask)
        return IssuedToken(response.token, times.moment(response.expires_at, "expires_at"))

    async def authorities(self) -> AuthoritiesInfo:
        """Say what signs what and until when, which nodes hold what, and what is being exchanged."""
        return authorities.from_wire((await self._connection.call(_get_authorities)).authorities)

    async def begin_rotation(self, kind: Kind, fingerprint: str) -> AuthoritiesInfo:
        """Begin an exchange with what `pki.succession.prepare` has made beside the hub; raise RotationRefused."""
        with sendable():
            request = authorities_pb.BeginRotationRequest(
                kind=enums.ROTATION_KIND.to_wire(kind), fingerprint=fingerprint
            )

        def ask(channel: grpc.aio.Channel) -> Awaitable[authorities_pb.BeginRotationResponse]:
            return AuthoritiesServiceStub(channel).BeginRotation(request, timeout=ROTATION_TIMEOUT_S)

        return authorities.from_wire((await self._connection.call(ask)).authorities)

    async def advance_rotation(
        self, kind: Kind, phase: Phase, *, force: bool = False
    ) -> tuple[AuthoritiesInfo, tuple[str, ...]]:
        """Go on from *phase*, and say who was left behind; raise RotationRefused while nodes are not ready, unless *force*."""
        request = authorities_pb.AdvanceRotationRequest(
            kind=enums.ROTATION_KIND.to_wire(kind), phase=enums.ROTATION_PHASE.to_wire(phase), force=force
        )

        def ask(channel: grpc.aio.Channel) -> Awaitable[authorities_pb.AdvanceRotationResponse]:
            return AuthoritiesServiceStub(channel).AdvanceRotation(request, timeout=ROTATION_TIMEOUT_S)

        response = await self._connection.call(ask)
        return authorities.from_wire(response.authorities), tuple(response.left_behind)

    async def roll_back_rotation(self, kind: Kind, phase: Phase) -> AuthoritiesInfo:
        """Turn round from *phase*; raise RotationRefused."""
        request = authorities_pb.RollBackRotationRequest(
            kind=enums.ROTATION_KIND.to_wire(kind), phase=enums.ROTATION_PHASE.to_wire(phase)
        )

        def ask(channel: grpc.aio.Channel) -> Awaitable[authorities_pb.RollBackRotationResponse]:
            return AuthoritiesServiceStub(channel).RollBackRotation(request, timeout=ROTATION_TIMEOUT_S)

        return authorities.from_wire((await self._connection.call(ask)).authorities)

    async def nodes(self) -> tuple[NodeInfo, ...]:
        """List everybody who is or was in the mesh, and who waits to be approved, by name."""
        response = await self._connection.call(_list_nodes)
        return tuple(nodes.from_wire(message) for message in response.nodes)

    async def approve(self, name: str) -> NodeInfo:
        """Let somebody in who waits; raise UnknownNode."""
        with sendable():
            request = nodes_pb.ApproveNodeRequest(name=name)

        def ask(channel: grpc.aio.Channel) -> Awaitable[nodes_pb.ApproveNodeResponse]:
            return NodesServiceStub(channel).ApproveNode(request, timeout=CALL_TIMEOUT_S)

        return nodes.from_wire((await self._connection.call(ask)).node)

    async def deny(self, name: str) -> NodeInfo:
        """Refuse somebody who waits; raise UnknownNode."""
        with sendable():
            request = nodes_pb.DenyNodeRequest(name=name)

        def ask(channel: grpc.aio.Channel) -> Awaitable[nodes_pb.DenyNodeResponse]:
            return NodesServiceStub(channel).DenyNode(request, timeout=CALL_TIMEOUT_S)

        return nodes.from_wire((await self._connection.call(ask)).node)

    async def revoke(self, name: str) -> NodeInfo:
        """End a node for good, and its calls at once; raise UnknownNode. Only a new token lets the name in again."""
        with sendable():
            request = nodes_pb.RevokeNodeRequest(name=name)

        def ask(channel: grpc.aio.Channel) -> Awaitable[nodes_pb.RevokeNodeResponse]:
            return NodesServiceStub(channel).RevokeNode(request, timeout=CALL_TIMEOUT_S)

        return nodes.from_wire((await self._connection.call(ask)).node)

    async def unlock(self, name: str) -> NodeInfo:
        """Let a locked node in again, with its newest certificate; raise UnknownNode or InvalidRequest."""
        with sendable():
            request = nodes_pb.UnlockNodeRequest(name=name)

        def ask(channel: grpc.aio.Channel) -> Awaitable[nodes_pb.UnlockNodeResponse]:
            return NodesServiceStub(channel).UnlockNode(request, timeout=CALL_TIMEOUT_S)

        return nodes.from_wire((await self._connection.call(ask)).node)

    async def load(
        self, model: str, *, spoke: str = "", pin: bool = False
    ) -> AsyncGenerator[LoadEvent, None]:
        """Bring *model* into memory, on *spoke* or wherever it is there soonest, and give how that goes.

        `InMemory` comes last. With *pin* it stays in memory from then on until `unload`. Closing the generator does not end
        the load, but then nothing is pinned.
        """
        with sendable():
            request = models_pb.LoadModelRequest(model=model, spoke=spoke, pin=pin)

        def ask(channel: grpc.aio.Channel) -> AsyncGenerator[LoadEvent, None]:
            call = ModelsServiceStub(channel).LoadModel(request)
            return whole(call, upkeep.load_event_from_wire, InMemory)

        async with aclosing(self._connection.stream(ask)) as events:
            async for event in events:
                yield event

    async def unload(self, model: str, *, spoke: str = "") -> tuple[SpokeId, ...]:
        """Take *model* out of memory, on *spoke* or everywhere, and say where it was; raise Busy where it runs."""
        with sendable():
            request = models_pb.UnloadModelRequest(model=model, spoke=spoke)

        def ask(channel: grpc.aio.Channel) -> Awaitable[models_pb.UnloadModelResponse]:
            return ModelsServiceStub(channel).UnloadModel(request, timeout=UNLOAD_TIMEOUT_S)

        response = await self._connection.call(ask)
        return tuple(SpokeId(name) for name in response.spokes)

    async def pull(self, model: str, *, spoke: str = "") -> AsyncGenerator[PullEvent, None]:
        """Get *model* onto the disk of *spoke*, or of the one with most memory to give, and give how that goes.

        `Pulled` comes last. Closing the generator stops the pull; another one goes on from there.
        """
        with sendable():
            request = models_pb.PullModelRequest(model=model, spoke=spoke)

        def ask(channel: grpc.aio.Channel) -> AsyncGenerator[PullEvent, None]:
            return whole(ModelsServiceStub(channel).PullModel(request), upkeep.pull_event_from_wire, Pulled)

        async with aclosing(self._connection.stream(ask)) as events:
            async for event in events:
                yield event

    async def delete(self, model: str, *, spoke: str = "") -> tuple[SpokeId, ...]:
        """Delete *model* from the disk of *spoke*, or of every connected spoke that has it, and say where it was.

        By a name goes whatever is called so, by a key or digest that model under all its names. Raise Busy where it runs, in
        which case it stays everywhere, and Unsupported where it is not the spoke's to delete.
        """
        with sendable():
            request = models_pb.DeleteModelRequest(model=model, spoke=spoke)

        def ask(channel: grpc.aio.Channel) -> Awaitable[models_pb.DeleteModelResponse]:
            return ModelsServiceStub(channel).DeleteModel(request, timeout=DELETE_TIMEOUT_S)

        response = await self._connection.call(ask)
        return tuple(SpokeId(name) for name in response.spokes)

    async def create_key(self, plan: KeyPlan) -> IssuedKey:
        """Make an API key for the gateway; raise InvalidRequest or AlreadyEnrolled for a name that cannot be."""
        request = keys.plan_to_wire(plan)

        def ask(channel: grpc.aio.Channel) -> Awaitable[keys_pb.CreateKeyResponse]:
            return KeysServiceStub(channel).CreateKey(request, timeout=CALL_TIMEOUT_S)

        return keys.issued_from_wire(await self._connection.call(ask))

    async def keys(self) -> tuple[KeyInfo, ...]:
        """List the API keys, the newest first, those that were revoked included."""
        response = await self._connection.call(_list_keys)
        return tuple(keys.info_from_wire(message) for message in response.keys)

    async def revoke_key(self, id_or_name: str) -> KeyInfo:
        """End an API key for good; raise UnknownKey."""
        request = keys_pb.RevokeKeyRequest(key=id_or_name)

        def ask(channel: grpc.aio.Channel) -> Awaitable[keys_pb.RevokeKeyResponse]:
            return KeysServiceStub(channel).RevokeKey(request, timeout=CALL_TIMEOUT_S)

        return keys.info_from_wire((await self._connection.call(ask)).key)


def _get_authorities(channel: grpc.aio.Channel) -> Awaitable[authorities_pb.GetAuthoritiesResponse]:
    request = authorities_pb.GetAuthoritiesRequest()
    return AuthoritiesServiceStub(channel).GetAuthorities(request, timeout=CALL_TIMEOUT_S)


def _list_keys(channel: grpc.aio.Channel) -> Awaitable[keys_pb.ListKeysResponse]:
    return KeysServiceStub(channel).ListKeys(keys_pb.ListKeysRequest(), timeout=CALL_TIMEOUT_S)


def _list_nodes(channel: grpc.aio.Channel) -> Awaitable[nodes_pb.ListNodesResponse]:
    return NodesServiceStub(channel).ListNodes(nodes_pb.ListNodesRequest(), timeout=CALL_TIMEOUT_S)


def _list_spokes(channel: grpc.aio.Channel) -> Awaitable[pb.ListSpokesResponse]:
    return AdminServiceStub(channel).ListSpokes(pb.ListSpokesRequest(), timeout=CALL_TIMEOUT_S)
