"""One slot as the spoke sees it, and who may have it. A slot is an open stream on which one attempt runs at a time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from hubspoke.errors import Draining, InternalError, ModelNotLoaded, ProtocolViolation, SlotTaken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hubspoke.errors import SessionError
    from hubspoke.types import Loaded, Model, Place


class Phase(StrEnum):
    """What a slot does."""

    OPENED = "opened"  # the hub knows it, and may not use it yet
    IDLE = "idle"
    RUNNING = "running"
    STOPPING = "stopping"  # cancelled, its Last still to come
    DECLINING = "declining"  # its Declined still to come


class Event(StrEnum):
    """What happens to a slot."""

    OFFER = "offer"
    WITHDRAW = "withdraw"
    ASSIGNMENT = "assignment"  # from the hub, and taken
    REFUSAL = "refusal"  # an assignment from the hub that is not taken
    CANCEL = "cancel"  # from the hub, for the attempt that runs
    LAST = "last"
    DECLINED = "declined"


NEXT: Final[Mapping[tuple[Phase, Event], Phase]] = {
    (Phase.OPENED, Event.OFFER): Phase.IDLE,
    (Phase.IDLE, Event.OFFER): Phase.IDLE,
    (Phase.IDLE, Event.WITHDRAW): Phase.IDLE,
    (Phase.IDLE, Event.ASSIGNMENT): Phase.RUNNING,
    (Phase.IDLE, Event.REFUSAL): Phase.DECLINING,
    (Phase.RUNNING, Event.CANCEL): Phase.STOPPING,
    (Phase.RUNNING, Event.LAST): Phase.IDLE,
    (Phase.STOPPING, Event.CANCEL): Phase.STOPPING,
    (Phase.STOPPING, Event.LAST): Phase.IDLE,
    (Phase.DECLINING, Event.DECLINED): Phase.IDLE,
}
_FROM_THE_HUB: Final = frozenset({Event.ASSIGNMENT, Event.REFUSAL, Event.CANCEL})


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot: what it does, whether it is on offer, and the attempt that it runs or ran last."""

    phase: Phase = Phase.OPENED
    offered: bool = False
    attempt: int = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs on it and nothing is owed to the hub."""
        return self.phase in {Phase.OPENED, Phase.IDLE}

    def after(self, event: Event) -> Slot:
        """Give the slot after *event*.

        Raise ProtocolViolation for what a hub may not say here, InternalError for what we may not.
        """
        phase = NEXT.get((self.phase, event))
        if phase is None:
            kind = ProtocolViolation if event in _FROM_THE_HUB else InternalError
            raise kind(f"{event} came on a slot that is {self.phase}")
        offered = {Event.OFFER: True, Event.WITHDRAW: False}.get(event, self.offered)
        return Slot(phase=phase, offered=offered, attempt=self.attempt)

    def assigned(self, attempt: int, refusal: SessionError | None) -> Slot:
        """Give the slot after the hub put *attempt* on it, and the spoke decided; raise ProtocolViolation."""
        if attempt in {0, self.attempt}:
            raise ProtocolViolation(f"attempt {attempt} is missing or came twice")
        following = self.after(Event.ASSIGNMENT if refusal is None else Event.REFUSAL)
        return Slot(phase=following.phase, offered=following.offered, attempt=attempt)

    def cancelled(self, attempt: int) -> Slot:
        """Give the slot after the hub cancelled *attempt*; one that has ended, or was declined, changes nothing."""
        runs = self.phase in {Phase.RUNNING, Phase.STOPPING} and attempt == self.attempt
        return self.after(Event.CANCEL) if runs else self


@dataclass(frozen=True, slots=True)
class Terms:
    """What the hub took for granted when it chose this spoke."""

    place: Place
    digest: str
    context_tokens: int


def refusal(
    slot: Slot, terms: Terms, model: Model | None, *, running: int, draining: bool
) -> SessionError | None:
    """Say why *slot* does not take work on *terms*, or None when it does.

    *model* is what the spoke has at that place now, *running* how many requests run on it.
    """
    if (no := leave_of(slot, draining=draining)) is not None:
        return no
    if model is None or model.loaded is None:
        return ModelNotLoaded(f"{terms.place.model!r} is not in memory any more")
    if (change := _change(terms, model, model.loaded)) is not None:
        return ModelNotLoaded(change)
    if running >= model.loaded.slots:
        return SlotTaken(f"all {model.loaded.slots} slots of {model.name!r} are busy")
    return None


def leave_of(slot: Slot, *, draining: bool) -> SessionError | None:
    """Say why *slot* may not be used at all, or None when it may."""
    if draining:
        return Draining("the spoke finishes its work and takes no more")
    if not slot.offered:
        return SlotTaken("the slot was withdrawn")
    return None


def _change(terms: Terms, model: Model, loaded: Loaded) -> str | None:
    """Say what the hub does not know yet about *model*, if there is something."""
    if model.digest != terms.digest:
        return f"{model.name!r} is another version here by now"
    if loaded.context_tokens < terms.context_tokens:
        has, wants = loaded.context_tokens, terms.context_tokens
        return f"{model.name!r} is loaded with {has} tokens of context, not {wants}"
    return None
