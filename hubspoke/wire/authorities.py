"""Authorities on the wire."""

from __future__ import annotations

from hubspoke.api.authorities.v1 import authorities_pb2 as pb
from hubspoke.errors import ProtocolViolation
from hubspoke.types import AuthoritiesInfo, AuthorityInfo, HolderInfo, HubCertificateInfo, RotationInfo
from hubspoke.wire import enums, times
from pki.errors import BadIdentity
from pki.identity import Identity, NodeName


def to_wire(info: AuthoritiesInfo) -> pb.Authorities:
    """Give the state of the authorities as a message."""
    return pb.Authorities(
        generation=info.generation,
        authorities=[_authority(authority) for authority in info.authorities],
        certificates=[
            pb.HubCertificate(port=each.port, expires_at=times.timestamp(each.ends_at))
            for each in info.certificates
        ],
        nodes=[_holder(node) for node in info.nodes],
        rotation=None if info.rotation is None else _rotation(info.rotation),
    )


def from_wire(message: pb.Authorities) -> AuthoritiesInfo:
    """Give a message as the state of the authorities; raise InvalidRequest or ProtocolViolation for what is none."""
    return AuthoritiesInfo(
        generation=message.generation,
        authorities=tuple(
            AuthorityInfo(
                kind=enums.ROTATION_KIND.from_wire(each.kind),
                number=each.number,
                use=enums.AUTHORITY_USE.from_wire(each.use),
                fingerprint=each.fingerprint,
                ends_at=times.moment(each.expires_at, "expires_at"),
            )
            for each in message.authorities
        ),
        certificates=tuple(
            HubCertificateInfo(each.port, times.moment(each.expires_at, "expires_at"))
            for each in message.certificates
        ),
        nodes=tuple(_holder_from_wire(each) for each in message.nodes),
        rotation=_rotation_from_wire(message.rotation) if message.HasField("rotation") else None,
    )


def _authority(info: AuthorityInfo) -> pb.Authority:
    return pb.Authority(
        kind=enums.ROTATION_KIND.to_wire(info.kind),
        number=info.number,
        use=enums.AUTHORITY_USE.to_wire(info.use),
        fingerprint=info.fingerprint,
        expires_at=times.timestamp(info.ends_at),
    )


def _holder(info: HolderInfo) -> pb.Holder:
    return pb.Holder(
        name=info.identity.name,
        role=enums.ROLE.to_wire(info.identity.role),
        bundle_generation=info.generation,
        expires_at=times.timestamp(info.ends_at),
        waits_because=info.waits_because,
        stays_behind=info.stays_behind,
    )


def _holder_from_wire(message: pb.Holder) -> HolderInfo:
    try:
        identity = Identity(enums.ROLE.from_wire(message.role), NodeName(message.name))
    except BadIdentity as error:
        raise ProtocolViolation(f"the hub lists a node whose name is none: {error}") from error
    return HolderInfo(
        identity=identity,
        generation=message.bundle_generation,
        ends_at=times.moment(message.expires_at, "expires_at"),
        waits_because=message.waits_because,
        stays_behind=message.stays_behind,
    )


def _rotation(info: RotationInfo) -> pb.Rotation:
    return pb.Rotation(
        kind=enums.ROTATION_KIND.to_wire(info.kind),
        phase=enums.ROTATION_PHASE.to_wire(info.phase),
        next=enums.ROTATION_PHASE.to_wire(info.next),
        since=times.timestamp(info.since),
        began_at=times.timestamp(info.began_at),
    )


def _rotation_from_wire(message: pb.Rotation) -> RotationInfo:
    return RotationInfo(
        kind=enums.ROTATION_KIND.from_wire(message.kind),
        phase=enums.ROTATION_PHASE.from_wire(message.phase),
        next=enums.ROTATION_PHASE.from_wire(message.next),
        since=times.moment(message.since, "since"),
        began_at=times.moment(message.began_at, "began_at"),
    )
