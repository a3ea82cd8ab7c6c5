"""Our enums and the wire's are the same words: neither side may gain one alone."""

import pytest

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
from hubspoke.wire import enums
from pki.identity import Role
from pki.rotation import Kind, Phase

MIRRORS = {
    "CAPABILITY_": (enums.CAPABILITY, Capability, pb.Capability),
    "GPU_KIND_": (enums.GPU_KIND, GpuKind, pb.GpuKind),
    "MODEL_STATE_": (enums.MODEL_STATE, ModelState, pb.ModelState),
    "FINISH_REASON_": (enums.FINISH_REASON, FinishReason, pb.FinishReason),
    "ROLE_": (enums.ROLE, Role, pb.Role),
    "PRIORITY_": (enums.PRIORITY, Priority, inference.Priority),
    "SPEAKER_": (enums.SPEAKER, Speaker, inference.Speaker),
    "EFFORT_": (enums.EFFORT, Effort, inference.Effort),
    "MODE_": (enums.CALLING, Calling, inference.ToolChoice.Mode),
    "CALL_": (enums.CALL, CallKind, mesh.Call),
    "NODE_STATE_": (enums.NODE_STATE, NodeState, nodes.NodeState),
    "ROTATION_KIND_": (enums.ROTATION_KIND, Kind, authorities.RotationKind),
    "ROTATION_PHASE_": (enums.ROTATION_PHASE, Phase, authorities.RotationPhase),
    "AUTHORITY_USE_": (enums.AUTHORITY_USE, Use, authorities.AuthorityUse),
    "SPOKE_STATE_": (enums.SPOKE_STATE, SpokeState, admin.SpokeState),
    "DELEGATION_STATE_": (enums.DELEGATION_STATE, DelegationState, delegation.DelegationState),
    "SUBTASK_STATE_": (enums.SUBTASK_STATE, SubtaskState, delegation.SubtaskState),
    "MODE_ of a goal": (enums.MODE, Mode, delegation.Mode),
    "REVIEW_": (enums.REVIEW, Review, delegation.Review),
    "MERGE_": (enums.MERGE, Merge, delegation.Merge),
    "SIDE_EFFECT_": (enums.SIDE_EFFECT, SideEffect, delegation.SideEffect),
    "CHECK_": (enums.CHECK, Check, delegation.Check),
    "KIND_": (enums.VERDICT, VerdictKind, delegation.Verdict.Kind),
    "VERB_": (enums.VERB, Verb, delegation.ResolveParkedRequest.Verb),
}
"""By the prefix of the wire's names."""

UNKNOWN = 1_000_000


def test_every_pair_is_tested():
    pairs = [value for value in vars(enums).values() if isinstance(value, enums.Pair)]
    assert len(MIRRORS) == len(pairs)
    assert all(pair in pairs for pair, _, _ in MIRRORS.values())


def prefix_of(mirror: str) -> str:
    return mirror.partition(" ")[0]


@pytest.mark.parametrize("mirror", MIRRORS)
def test_both_sides_have_the_same_names(mirror: str):
    _, inside, wire = MIRRORS[mirror]
    assert set(wire.keys()) == {f"{prefix_of(mirror)}{member.name}" for member in inside} | {
        f"{prefix_of(mirror)}UNSPECIFIED"
    }


@pytest.mark.parametrize("mirror", MIRRORS)
def test_a_member_survives_the_wire(mirror: str):
    pair, inside, _ = MIRRORS[mirror]
    assert [pair.from_wire(pair.to_wire(member)) for member in inside] == list(inside)


@pytest.mark.parametrize("mirror", MIRRORS)
def test_a_member_is_called_on_the_wire_what_it_is_called_here(mirror: str):
    pair, inside, wire = MIRRORS[mirror]
    assert {wire.Name(pair.to_wire(member)) for member in inside} == {
        f"{prefix_of(mirror)}{m.name}" for m in inside
    }


@pytest.mark.parametrize("value", [0, UNKNOWN, -1])
@pytest.mark.parametrize("mirror", MIRRORS)
def test_a_value_that_means_nothing_is_refused_by_name(mirror: str, value: int):
    pair, _, _ = MIRRORS[mirror]
    with pytest.raises(InvalidRequest, match=prefix_of(mirror).rstrip("_").lower().replace("_", " ")):
        pair.from_wire(value)


@pytest.mark.parametrize("mirror", MIRRORS)
def test_a_list_leaves_out_the_values_of_a_newer_version(mirror: str):
    pair, inside, wire = MIRRORS[mirror]
    assert pair.known([*wire.values(), UNKNOWN]) == frozenset(inside)
