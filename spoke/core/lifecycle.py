"""Where a spoke stands with its hub, as a table: what may happen when, and what follows."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from hubspoke.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Phase(StrEnum):
    """Where the spoke stands with its hub."""

    CONNECTING = "connecting"
    READY = "ready"
    MOVING = "moving"  # works on, and opens a new connection beside the old one
    DRAINING = "draining"  # finishes its work to leave
    GONE = "gone"


class Event(StrEnum):
    """What can happen to a spoke."""

    WELCOMED = "welcomed"  # the hub gave a session
    ENDED = "ended"  # the session is over, whoever ended it
    MOVE = "move"  # there is a new certificate, which only a new connection can show
    LEAVE = "leave"  # the agent is to stop


NEXT: Final[Mapping[tuple[Phase, Event], Phase]] = {
    (Phase.CONNECTING, Event.WELCOMED): Phase.READY,
    # What is being opened shows the new certificate, or ends with the old one.
    (Phase.CONNECTING, Event.MOVE): Phase.CONNECTING,
    (Phase.CONNECTING, Event.LEAVE): Phase.GONE,
    (Phase.READY, Event.ENDED): Phase.CONNECTING,
    (Phase.READY, Event.MOVE): Phase.MOVING,
    (Phase.READY, Event.LEAVE): Phase.DRAINING,
    (Phase.MOVING, Event.WELCOMED): Phase.READY,
    (Phase.MOVING, Event.ENDED): Phase.CONNECTING,
    (Phase.MOVING, Event.MOVE): Phase.MOVING,
    (Phase.MOVING, Event.LEAVE): Phase.DRAINING,
    (Phase.DRAINING, Event.ENDED): Phase.GONE,
    (Phase.DRAINING, Event.MOVE): Phase.DRAINING,
    (Phase.DRAINING, Event.LEAVE): Phase.DRAINING,
    (Phase.GONE, Event.MOVE): Phase.GONE,
    (Phase.GONE, Event.LEAVE): Phase.GONE,
}


def after(phase: Phase, event: Event) -> Phase:
    """Say what follows; raise InternalError for what cannot happen, which is a defect of ours."""
    following = NEXT.get((phase, event))
    if following is None:
        raise InternalError(f"a spoke that is {phase} cannot be told {event}")
    return following
