"""Who may call what. What is not in this table is refused."""

from __future__ import annotations

from typing import Final

from pki.identity import Role

NODES: Final = frozenset({Role.SPOKE, Role.APP, Role.ADMIN})
SPOKES: Final = frozenset({Role.SPOKE})
ASKERS: Final = frozenset({Role.APP, Role.ADMIN})
ADMINS: Final = frozenset({Role.ADMIN})

_API: Final = "/hubspoke.api"

MESH_PORT: Final[dict[str, frozenset[Role]]] = {
    f"{_API}.identity.v1.IdentityService/WhoAmI": NODES,
    f"{_API}.identity.v1.IdentityService/GetBundle": NODES,
    f"{_API}.identity.v1.IdentityService/Renew": NODES,
    f"{_API}.mesh.v1.MeshService/Register": SPOKES,
    f"{_API}.mesh.v1.MeshService/Heartbeat": SPOKES,
    f"{_API}.mesh.v1.MeshService/Work": SPOKES,
    f"{_API}.inference.v1.InferenceService/Infer": ASKERS,
    f"{_API}.inference.v1.InferenceService/Embed": ASKERS,
    f"{_API}.inference.v1.InferenceService/ListModels": ASKERS,
    f"{_API}.delegation.v1.DelegationService/Delegate": ASKERS,
    f"{_API}.delegation.v1.DelegationService/WatchDelegation": ASKERS,
    f"{_API}.delegation.v1.DelegationService/GetDelegation": ASKERS,
    f"{_API}.delegation.v1.DelegationService/ListDelegations": ASKERS,
    f"{_API}.delegation.v1.DelegationService/CancelDelegation": ASKERS,
    f"{_API}.delegation.v1.DelegationService/ResolveParked": ASKERS,
    f"{_API}.delegation.v1.DelegationService/DeleteDelegation": ASKERS,
    f"{_API}.models.v1.ModelsService/LoadModel": ADMINS,
    f"{_API}.models.v1.ModelsService/UnloadModel": ADMINS,
    f"{_API}.models.v1.ModelsService/PullModel": ADMINS,
    f"{_API}.models.v1.ModelsService/DeleteModel": ADMINS,
    f"{_API}.keys.v1.KeysService/CreateKey": ADMINS,
    f"{_API}.keys.v1.KeysService/ListKeys": ADMINS,
    f"{_API}.keys.v1.KeysService/RevokeKey": ADMINS,
    f"{_API}.nodes.v1.NodesService/ListNodes": ADMINS,
    f"{_API}.nodes.v1.NodesService/ApproveNode": ADMINS,
    f"{_API}.nodes.v1.NodesService/DenyNode": ADMINS,
    f"{_API}.nodes.v1.NodesService/RevokeNode": ADMINS,
    f"{_API}.nodes.v1.NodesService/UnlockNode": ADMINS,
    f"{_API}.authorities.v1.AuthoritiesService/GetAuthorities": ADMINS,
    f"{_API}.authorities.v1.AuthoritiesService/BeginRotation": ADMINS,
    f"{_API}.authorities.v1.AuthoritiesService/AdvanceRotation": ADMINS,
    f"{_API}.authorities.v1.AuthoritiesService/RollBackRotation": ADMINS,
    f"{_API}.admin.v1.AdminService/ListSpokes": ADMINS,
    f"{_API}.admin.v1.AdminService/CreateJoinToken": ADMINS,
}
"""Calls of the mesh port, by the full name of the method, and the roles that may make them."""

_ENROLMENT: Final = f"{_API}.enrolment.v1.EnrolmentService"

ENROL_PORT: Final[dict[str, str]] = {
    f"{_ENROLMENT}/Join": "whoever holds a join token",
    f"{_ENROLMENT}/JoinStatus": "whoever holds a join token and the key that it was used with",
    f"{_ENROLMENT}/Challenge": "anybody",
    f"{_ENROLMENT}/Rejoin": "whoever holds the key of a node's newest certificate",
}
"""Calls of the enrol port, where nobody has a certificate that counts, and who gets an answer."""
