"""One session of a spoke, as long as it lasts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hub.relay.outbox import Outbox

if TYPE_CHECKING:
    from hub.relay.orders import Pending, Reply
    from hub.relay.work import WorkStream

BEATS_LIMIT: Final = 64
"""Answers and directives that may wait for a heartbeat stream to take them."""


@dataclass(slots=True)
class Live:
    """A session that is going on, with those that it goes on with: what they still say counts as its own."""

    session: int
    slots: int
    heartbeat: Outbox[Reply] = field(default_factory=lambda: Outbox(BEATS_LIMIT))
    streams: dict[int, WorkStream] = field(default_factory=dict)
    idle: dict[int, WorkStream] = field(default_factory=dict)
    orders: dict[int, Pending] = field(default_factory=dict)
    former: frozenset[int] = frozenset()
    sequence: int = 0
    has_heartbeat: bool = False

    @property
    def numbers(self) -> frozenset[int]:
        """Every session that this is."""
        return self.former | {self.session}
