"""The life of one Work stream as the hub sees it: offered, busy with one attempt at a time, withdrawn.

An assignment may cross a `Withdraw` on its way, which the spoke settles by `Declined`, and a cancel may cross the
`Last` that it wants, which settles itself. So both are told apart from what a spoke may not say.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from hubspoke.errors import InternalError, ProtocolViolation

if TYPE_CHECKING:
    from collections.abc import Mapping


class SlotState(StrEnum):
    """What a slot does."""

    OPENED = "opened"  # no Offer yet
    IDLE = "idle"  # on offer
    BUSY = "busy"
    DRAINING = "draining"  # cancelled, its Last still to come
    WITHDRAWN = "withdrawn"  # another hub has it


class Event(StrEnum):
    """What happens to a slot, chunks aside: they change nothing (`check_chunk`)."""

    OFFER = "Offer"
    WITHDRAW = "Withdraw"
    ASSIGN = "Assignment"  # ours
    CANCEL = "Cancel"  # ours
    LAST = "Last"
    DECLINED = "Declined"


NEXT: Final[Mapping[tuple[SlotState, Event], SlotState]] = {
    (SlotState.OPENED, Event.OFFER): SlotState.IDLE,
    (SlotState.IDLE, Event.WITHDRAW): SlotState.WITHDRAWN,
    (SlotState.IDLE, Event.ASSIGN): SlotState.BUSY,
    # What was said before the assignment arrived; it takes effect with the attempt's end.
    (SlotState.BUSY, Event.WITHDRAW): SlotState.BUSY,
    (SlotState.BUSY, Event.OFFER): SlotState.BUSY,
    (SlotState.BUSY, Event.CANCEL): SlotState.DRAINING,
    (SlotState.BUSY, Event.LAST): SlotState.IDLE,
    (SlotState.BUSY, Event.DECLINED): SlotState.IDLE,
    (SlotState.DRAINING, Event.WITHDRAW): SlotState.DRAINING,
    (SlotState.DRAINING, Event.OFFER): SlotState.DRAINING,
    (SlotState.DRAINING, Event.LAST): SlotState.IDLE,
    (SlotState.DRAINING, Event.DECLINED): SlotState.IDLE,
    (SlotState.WITHDRAWN, Event.OFFER): SlotState.IDLE,
}
_OURS: Final = frozenset({Event.ASSIGN, Event.CANCEL})
_OF_AN_ATTEMPT: Final = frozenset({Event.CANCEL, Event.LAST, Event.DECLINED})


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot: what it does, the attempt that it runs (`None` when it runs nothing), and whether it is on offer."""

    state: SlotState = SlotState.OPENED
    attempt: int | None = None
    offered: bool = False


def step(slot: Slot, event: Event, attempt: int | None = None) -> Slot:
    """Give *slot* after *event*; *attempt* goes with everything but Offer and Withdraw.

    Raise ProtocolViolation for what a spoke may not say here, InternalError for what we may not. A cancel of a
    slot that runs nothing, or something else by now, is for the caller to leave out.
    """
    following = NEXT.get((slot.state, event))
    if following is None:
        raise _wrong(event, f"came on a slot that is {slot.state}")
    if event in _OF_AN_ATTEMPT and attempt != slot.attempt:
        raise _wrong(event, f"names attempt {attempt}, and the slot runs {slot.attempt}")
    if event is Event.ASSIGN:
        return _assigned(slot, attempt)
    offered = _offered(slot, event)
    if following is SlotState.IDLE:
        return Slot(SlotState.IDLE if offered else SlotState.WITHDRAWN, None, offered)
    return Slot(following, slot.attempt, offered)


def check_chunk(slot: Slot, attempt: int) -> None:
    """Raise ProtocolViolation unless *slot* runs *attempt*: for every chunk that comes."""
    if attempt != slot.attempt:  # idle slots have none
        runs = "nothing" if slot.attempt is None else f"attempt {slot.attempt}"
        raise ProtocolViolation(f"a Chunk came for attempt {attempt} on a slot that runs {runs}")


def _assigned(slot: Slot, attempt: int | None) -> Slot:
    if not attempt:
        raise InternalError("an Assignment needs the number of its attempt, from 1")
    return Slot(SlotState.BUSY, attempt, slot.offered)


def _offered(slot: Slot, event: Event) -> bool:
    if event not in {Event.OFFER, Event.WITHDRAW}:
        return slot.offered
    offered = event is Event.OFFER
    if offered is slot.offered:
        raise _wrong(event, f"came twice on a slot that is {slot.state}")
    return offered


def _wrong(event: Event, what: str) -> ProtocolViolation | InternalError:
    """Say whose mistake it is: a message of ours out of place is a defect, one of the spoke's a violation."""
    return InternalError(f"{event} {what}") if event in _OURS else ProtocolViolation(f"{event} {what}")
