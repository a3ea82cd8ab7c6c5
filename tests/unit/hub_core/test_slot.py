import pytest

from hub.core.slot import NEXT, Event, Slot, SlotState, check_chunk, step
from hubspoke.errors import InternalError, ProtocolViolation

IDLE = step(Slot(), Event.OFFER)
BUSY = step(IDLE, Event.ASSIGN, 7)
DRAINING = step(BUSY, Event.CANCEL, 7)
WITHDRAWN = step(IDLE, Event.WITHDRAW)
SLOTS = {slot.state: slot for slot in (Slot(), IDLE, BUSY, DRAINING, WITHDRAWN)}
ATTEMPT = {Event.ASSIGN: 7, Event.CANCEL: 7, Event.LAST: 7, Event.DECLINED: 7}
OURS = {Event.ASSIGN, Event.CANCEL}


@pytest.mark.parametrize("slot", [BUSY, DRAINING], ids=["busy", "cancelled"])
@pytest.mark.parametrize("end", [Event.LAST, Event.DECLINED])
def test_an_attempt_that_ends_leaves_the_slot_on_offer(slot, end):
    assert step(slot, end, 7) == IDLE


def test_a_withdrawal_that_crosses_an_assignment_waits_for_its_end():
    crossed = step(BUSY, Event.WITHDRAW)
    assert crossed.state is SlotState.BUSY
    assert step(crossed, Event.DECLINED, 7) == WITHDRAWN


def test_an_offer_that_follows_such_a_withdrawal_counts():
    assert step(step(step(BUSY, Event.WITHDRAW), Event.OFFER), Event.LAST, 7) == IDLE


def test_a_withdrawn_slot_can_be_offered_again():
    assert step(WITHDRAWN, Event.OFFER) == IDLE


@pytest.mark.parametrize("slot", [IDLE, BUSY, DRAINING], ids=str)
def test_a_second_offer_is_a_violation(slot):
    with pytest.raises(ProtocolViolation):
        step(slot, Event.OFFER)


@pytest.mark.parametrize("slot", [Slot(), WITHDRAWN, step(BUSY, Event.WITHDRAW)], ids=str)
def test_what_is_not_on_offer_cannot_be_withdrawn(slot):
    with pytest.raises(ProtocolViolation):
        step(slot, Event.WITHDRAW)


@pytest.mark.parametrize(
    ("state", "event"), [(s, e) for s in SlotState for e in Event if (s, e) not in NEXT], ids=str
)
def test_what_is_not_in_the_table_is_somebodys_mistake(state, event):
    with pytest.raises(InternalError if event in OURS else ProtocolViolation):
        step(SLOTS[state], event, ATTEMPT.get(event))


@pytest.mark.parametrize("event", [Event.LAST, Event.DECLINED])
@pytest.mark.parametrize("attempt", [0, 6, 8, None])
def test_the_end_of_another_attempt_is_a_violation(event, attempt):
    with pytest.raises(ProtocolViolation, match="runs 7"):
        step(BUSY, event, attempt)


def test_a_cancel_of_another_attempt_is_a_defect_of_ours():
    with pytest.raises(InternalError):
        step(BUSY, Event.CANCEL, 6)


@pytest.mark.parametrize("attempt", [0, None])
def test_an_assignment_has_a_number(attempt):
    with pytest.raises(InternalError):
        step(IDLE, Event.ASSIGN, attempt)


@pytest.mark.parametrize("slot", [BUSY, DRAINING], ids=["busy", "cancelled"])
def test_chunks_of_what_runs_are_taken(slot):
    check_chunk(slot, 7)


@pytest.mark.parametrize("slot", [Slot(), IDLE, WITHDRAWN, step(BUSY, Event.LAST, 7)], ids=str)
def test_a_chunk_after_the_last_is_a_violation(slot):
    with pytest.raises(ProtocolViolation, match="runs nothing"):
        check_chunk(slot, 7)


def test_a_chunk_of_another_attempt_is_a_violation():
    with pytest.raises(ProtocolViolation, match="attempt 6 on a slot that runs attempt 7"):
        check_chunk(BUSY, 6)
