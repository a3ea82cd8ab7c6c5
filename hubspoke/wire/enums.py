"""Enums by name: `ModelState.LOADED` is `MODEL_STATE_LOADED`. The names are held together by a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

from hubspoke.api.admin.v1 import admin_pb2 as admin
from hubspoke.api.authorities.v1 import authorities_pb2 as authorities
from hubspoke.api.delegation.v1 import delegation_pb2 as delegation
from hubspoke.api.inference.v1 import inference_pb2 as inference
from hubspoke.api.mesh.v1 import mesh_pb2 as mesh
from hubspoke.api.nodes.v1 import nodes_pb2 as nodes
from hubspoke.api.types.v1 import types_pb2 as pb
from hubspoke.errors import InvalidRequest
from hubspoke.types import (
    Calling,
    CallKind,
    Capability,
    Check,
    DelegationState,
    Effort,
    FinishReason,
    GpuKind,
    Merge,
    Mode,
    ModelState,
    NodeState,
    Priority,
    Review,
    SideEffect,
    Speaker,
    SpokeState,
    SubtaskState,
    Use,
    Verb,
    VerdictKind,
)
from pki.identity import Role
from pki.rotation import Kind, Phase

if TYPE_CHECKING:
    from enum import StrEnum

    from google.protobuf.internal.enum_type_wrapper import _EnumTypeWrapper

Inside = TypeVar("Inside", bound="StrEnum")
Wire = TypeVar("Wire", bound=int)


class Pair(Generic[Inside, Wire]):
    """One enum of ours and the wire enum that mirrors it, whose names carry *prefix*."""

    def __init__(self, inside: type[Inside], wire: _EnumTypeWrapper[Wire], prefix: str) -> None:
        self.what = prefix.rstrip("_").lower().replace("_", " ")
        self._to: dict[Inside, Wire] = {member: wire.Value(f"{prefix}{member.name}") for member in inside}
        self._from: dict[int, Inside] = {value: member for member, value in self._to.items()}

    def to_wire(self, member: Inside) -> Wire:
        """Give the wire's value."""
        return self._to[member]

    def from_wire(self, value: int) -> Inside:
        """Give our member; raise InvalidRequest for UNSPECIFIED and for a value of a newer version."""
        member = self._from.get(value)
        if member is None:
            raise InvalidRequest(
                f"{self.what} {value} is none that this version knows; set it, or update this side"
            )
        return member

    def known(self, values: list[int]) -> frozenset[Inside]:
        """Give the members among *values* and leave out those of a newer version."""
        return frozenset(self._from[value] for value in values if value in self._from)


CAPABILITY: Final = Pair(Capability, pb.Capability, "CAPABILITY_")
GPU_KIND: Final = Pair(GpuKind, pb.GpuKind, "GPU_KIND_")
MODEL_STATE: Final = Pair(ModelState, pb.ModelState, "MODEL_STATE_")
FINISH_REASON: Final = Pair(FinishReason, pb.FinishReason, "FINISH_REASON_")
ROLE: Final = Pair(Role, pb.Role, "ROLE_")
PRIORITY: Final = Pair(Priority, inference.Priority, "PRIORITY_")
SPEAKER: Final = Pair(Speaker, inference.Speaker, "SPEAKER_")
EFFORT: Final = Pair(Effort, inference.Effort, "EFFORT_")
CALL: Final = Pair(CallKind, mesh.Call, "CALL_")
CALLING: Final = Pair(Calling, inference.ToolChoice.Mode, "MODE_")
SPOKE_STATE: Final = Pair(SpokeState, admin.SpokeState, "SPOKE_STATE_")
NODE_STATE: Final = Pair(NodeState, nodes.NodeState, "NODE_STATE_")
DELEGATION_STATE: Final = Pair(DelegationState, delegation.DelegationState, "DELEGATION_STATE_")
SUBTASK_STATE: Final = Pair(SubtaskState, delegation.SubtaskState, "SUBTASK_STATE_")
MODE: Final = Pair(Mode, delegation.Mode, "MODE_")
REVIEW: Final = Pair(Review, delegation.Review, "REVIEW_")
MERGE: Final = Pair(Merge, delegation.Merge, "MERGE_")
SIDE_EFFECT: Final = Pair(SideEffect, delegation.SideEffect, "SIDE_EFFECT_")
CHECK: Final = Pair(Check, delegation.Check, "CHECK_")
VERDICT: Final = Pair(VerdictKind, delegation.Verdict.Kind, "KIND_")
VERB: Final = Pair(Verb, delegation.ResolveParkedRequest.Verb, "VERB_")
ROTATION_KIND: Final = Pair(Kind, authorities.RotationKind, "ROTATION_KIND_")
ROTATION_PHASE: Final = Pair(Phase, authorities.RotationPhase, "ROTATION_PHASE_")
AUTHORITY_USE: Final = Pair(Use, authorities.AuthorityUse, "AUTHORITY_USE_")
