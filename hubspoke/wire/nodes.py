"""Nodes on the wire."""

from __future__ import annotations

from hubspoke.api.nodes.v1 import nodes_pb2 as pb
from hubspoke.errors import ProtocolViolation
from hubspoke.types import NodeInfo
from hubspoke.wire import enums, times
from pki.errors import BadIdentity
from pki.identity import Identity, NodeName


def to_wire(node: NodeInfo) -> pb.Node:
    """Give a node as a message."""
    return pb.Node(
        name=node.identity.name,
        role=enums.ROLE.to_wire(node.identity.role),
        state=enums.NODE_STATE.to_wire(node.state),
        since=times.timestamp(node.since),
        why=node.why,
        key=node.key,
        serial=node.serial,
        generation=node.generation,
        bundle_generation=node.bundle_generation,
        ends_at=None if node.ends_at is None else times.timestamp(node.ends_at),
    )


def from_wire(message: pb.Node) -> NodeInfo:
    """Give a message as a node; raise ProtocolViolation for a name that is none."""
    try:
        identity = Identity(enums.ROLE.from_wire(message.role), NodeName(message.name))
    except BadIdentity as error:
        raise ProtocolViolation(f"the hub lists a node whose name is none: {error}") from error
    return NodeInfo(
        identity=identity,
        state=enums.NODE_STATE.from_wire(message.state),
        since=times.moment(message.since, "since"),
        key=message.key,
        why=message.why,
        serial=message.serial,
        generation=message.generation,
        bundle_generation=message.bundle_generation,
        ends_at=times.moment(message.ends_at, "ends_at") if message.HasField("ends_at") else None,
    )
