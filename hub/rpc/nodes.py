"""Operators: who is in the mesh, who may come in, and who has to go."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hub.identities import explained
from hub.rpc.interceptors import caller
from hub.store.tokens import Verdict
from hubspoke.api.nodes.v1 import nodes_pb2 as pb
from hubspoke.api.nodes.v1 import nodes_pb2_grpc as rpc
from hubspoke.types import NodeInfo, NodeState
from hubspoke.wire import nodes as wire
from pki.keys import fingerprint

if TYPE_CHECKING:
    import grpc

    from hub.admissions import Admissions
    from hub.identities import Identities
    from hub.store.nodes import NodeRecord
    from hub.store.tokens import Waiting


class NodesService(rpc.NodesServiceServicer):
    """Serves `ListNodes`, `ApproveNode`, `DenyNode`, `RevokeNode` and `UnlockNode`."""

    def __init__(self, identities: Identities, admissions: Admissions) -> None:
        self._identities = identities
        self._admissions = admissions

    def add_to(self, server: grpc.aio.Server) -> None:
        """Have *server* serve this."""
        rpc.add_NodesServiceServicer_to_server(self, server)

    async def ListNodes(  # noqa: N802  # the proto names it
        self,
        _request: pb.ListNodesRequest,
        _context: grpc.aio.ServicerContext[pb.ListNodesRequest, pb.ListNodesResponse],
    ) -> pb.ListNodesResponse:
        """List everybody, those that wait for approval included."""
        found = [_info(node) for node in self._identities.nodes]
        found += [_pending(waiting) for waiting in await self._admissions.waiting()]
        found.sort(key=lambda node: node.identity.name)
        return pb.ListNodesResponse(nodes=[wire.to_wire(node) for node in found])

    async def ApproveNode(  # noqa: N802  # the proto names it
        self,
        request: pb.ApproveNodeRequest,
        _context: grpc.aio.ServicerContext[pb.ApproveNodeRequest, pb.ApproveNodeResponse],
    ) -> pb.ApproveNodeResponse:
        """Let somebody in who waits."""
        waiting = await self._admissions.judge(request.name, Verdict.APPROVED, _by())
        return pb.ApproveNodeResponse(node=wire.to_wire(_pending(waiting)))

    async def DenyNode(  # noqa: N802  # the proto names it
        self,
        request: pb.DenyNodeRequest,
        _context: grpc.aio.ServicerContext[pb.DenyNodeRequest, pb.DenyNodeResponse],
    ) -> pb.DenyNodeResponse:
        """Refuse somebody who waits."""
        waiting = await self._admissions.judge(request.name, Verdict.DENIED, _by())
        return pb.DenyNodeResponse(node=wire.to_wire(_pending(waiting)))

    async def RevokeNode(  # noqa: N802  # the proto names it
        self,
        request: pb.RevokeNodeRequest,
        _context: grpc.aio.ServicerContext[pb.RevokeNodeRequest, pb.RevokeNodeResponse],
    ) -> pb.RevokeNodeResponse:
        """End a node for good."""
        return pb.RevokeNodeResponse(
            node=wire.to_wire(_info(await self._identities.revoke(request.name, _by())))
        )

    async def UnlockNode(  # noqa: N802  # the proto names it
        self,
        request: pb.UnlockNodeRequest,
        _context: grpc.aio.ServicerContext[pb.UnlockNodeRequest, pb.UnlockNodeResponse],
    ) -> pb.UnlockNodeResponse:
        """Let a locked node in again."""
        return pb.UnlockNodeResponse(
            node=wire.to_wire(_info(await self._identities.unlock(request.name, _by())))
        )


def _by() -> str:
    return caller().identity.name


def _info(node: NodeRecord) -> NodeInfo:
    return NodeInfo(
        identity=node.identity,
        state=node.state,
        since=_moment(node.since),
        key=fingerprint(node.key_digest),
        why=explained(node),
        serial=node.serial,
        generation=node.generation,
        bundle_generation=node.bundle_generation,
        ends_at=_moment(node.expires_at),
    )


def _pending(waiting: Waiting) -> NodeInfo:
    name = waiting.identity.name
    why = (
        f"`hubspoke nodes approve {name}` lets it in, until {_moment(waiting.expires_at):%Y-%m-%d %H:%M} UTC"
    )
    if waiting.verdict is not Verdict.NONE:
        why = f"{waiting.verdict}; it has not come for its certificate yet"
    return NodeInfo(
        identity=waiting.identity,
        state=NodeState.PENDING,
        since=_moment(waiting.asked_at),
        key=fingerprint(waiting.key_digest),
        why=why,
    )


def _moment(unix_s: float) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC)
