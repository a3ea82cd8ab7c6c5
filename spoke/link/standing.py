"""What the streams of one session have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hubspoke.errors import ProtocolViolation
from hubspoke.wire import times
from spoke.core.coalesce import FLUSH_S_MIN

if TYPE_CHECKING:
    from hubspoke.api.mesh.v1 import mesh_pb2 as pb

HEARTBEAT_S_MIN: Final = 0.05
LEASE_S_MAX: Final = 3600.0


@dataclass(slots=True)
class Standing:
    """The session's number and times, in seconds, and what changes while it lasts."""

    session: int
    hub: str
    heartbeat_s: float
    lease_s: float
    flush_s: float = FLUSH_S_MIN
    draining: bool = False


def parse(message: pb.RegisterResponse) -> Standing:
    """Check what the hub answered to Register; raise ProtocolViolation that names the field."""
    heartbeat_s, lease_s = times.seconds(message.heartbeat_interval), times.seconds(message.lease)
    if message.session == 0:
        raise ProtocolViolation("the hub gave no session; is it of another version?")
    if not HEARTBEAT_S_MIN <= heartbeat_s <= lease_s <= LEASE_S_MAX:
        raise ProtocolViolation(f"the hub wants a heartbeat every {heartbeat_s:g} s within {lease_s:g} s")
    return Standing(session=message.session, hub=message.hub, heartbeat_s=heartbeat_s, lease_s=lease_s)
