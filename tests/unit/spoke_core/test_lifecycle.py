import pytest

from hubspoke.errors import InternalError
from spoke.core.lifecycle import NEXT, Event, Phase, after


def walk(*events):
    phase = Phase.CONNECTING
    for event in events:
        phase = after(phase, event)
    return phase


def test_a_spoke_finds_back_after_a_lost_session():
    assert walk(Event.WELCOMED, Event.ENDED, Event.WELCOMED) is Phase.READY


def test_a_spoke_that_is_told_to_leave_drains_first():
    assert walk(Event.WELCOMED, Event.LEAVE) is Phase.DRAINING
    assert walk(Event.WELCOMED, Event.LEAVE, Event.ENDED) is Phase.GONE


def test_a_spoke_without_a_session_leaves_at_once():
    assert walk(Event.LEAVE) is Phase.GONE


def test_a_spoke_with_a_new_certificate_comes_back():
    assert walk(Event.WELCOMED, Event.MOVE, Event.WELCOMED) is Phase.READY
    assert walk(Event.WELCOMED, Event.MOVE, Event.ENDED, Event.WELCOMED) is Phase.READY


def test_leaving_wins_over_moving():
    assert walk(Event.WELCOMED, Event.MOVE, Event.LEAVE, Event.ENDED) is Phase.GONE
    assert walk(Event.WELCOMED, Event.LEAVE, Event.MOVE, Event.ENDED) is Phase.GONE


def test_being_told_to_leave_or_move_is_allowed_at_any_time():
    assert {(phase, event) for phase in Phase for event in (Event.LEAVE, Event.MOVE)} <= set(NEXT)


def test_what_cannot_happen_is_a_defect_of_ours():
    with pytest.raises(InternalError):
        walk(Event.ENDED)
