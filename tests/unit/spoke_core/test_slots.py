import pytest

from hubspoke.errors import Draining, InternalError, ModelNotLoaded, ProtocolViolation, SlotTaken
from hubspoke.types import Place
from spoke.core.slots import Event, Phase, Slot, Terms, refusal
from tests.fakes.engine import a_model

OFFERED = Slot().after(Event.OFFER)
RUNNING = OFFERED.assigned(1, None)
TINY = a_model(slots=2)
TERMS = Terms(Place("fake", "tiny"), TINY.digest, 2048)


def decide(slot=OFFERED, terms=TERMS, model=TINY, *, running=0, draining=False):
    return refusal(slot, terms, model, running=running, draining=draining)


def test_a_slot_on_offer_takes_an_attempt():
    assert (RUNNING.phase, RUNNING.attempt, RUNNING.is_idle) == (Phase.RUNNING, 1, False)


def test_a_slot_that_was_never_offered_gets_no_work():
    with pytest.raises(ProtocolViolation):
        Slot().assigned(1, None)


def test_a_busy_slot_gets_no_second_attempt():
    with pytest.raises(ProtocolViolation):
        RUNNING.assigned(2, None)


@pytest.mark.parametrize("attempt", [0, 1])
def test_an_attempt_has_a_number_that_was_never_used(attempt):
    with pytest.raises(ProtocolViolation):
        RUNNING.after(Event.LAST).assigned(attempt, None)


def test_a_cancelled_slot_is_free_only_after_its_last():
    stopping = RUNNING.cancelled(1)
    assert (stopping.phase, stopping.is_idle) == (Phase.STOPPING, False)
    assert stopping.after(Event.LAST).is_idle


def test_a_cancel_of_another_attempt_changes_nothing():
    assert RUNNING.cancelled(9) is RUNNING
    assert OFFERED.cancelled(1) is OFFERED


def test_a_declined_slot_stays_on_offer():
    declining = OFFERED.assigned(1, SlotTaken("busy"))
    assert not declining.is_idle
    assert declining.after(Event.DECLINED).offered


def test_an_assignment_that_crosses_a_withdrawal_is_declined():
    withdrawn = OFFERED.after(Event.WITHDRAW)
    why = decide(withdrawn)
    assert isinstance(why, SlotTaken)
    assert not withdrawn.assigned(1, why).after(Event.DECLINED).offered


def test_a_last_without_an_attempt_is_a_defect_of_ours():
    with pytest.raises(InternalError):
        OFFERED.after(Event.LAST)


def test_a_model_with_a_free_slot_is_taken():
    assert decide(running=1) is None


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"draining": True}, Draining),
        ({"model": None}, ModelNotLoaded),
        ({"model": a_model(loaded=False)}, ModelNotLoaded),
        ({"model": a_model(digest="sha256:" + "b" * 64)}, ModelNotLoaded),
        ({"model": a_model(digest="")}, ModelNotLoaded),
        ({"terms": Terms(TERMS.place, TINY.digest, 4096)}, ModelNotLoaded),
        ({"running": 2}, SlotTaken),
    ],
    ids=["draining", "unknown", "cold", "another digest", "no digest", "longer context", "all slots busy"],
)
def test_what_cannot_run_is_refused(given, kind):
    assert isinstance(decide(**given), kind)


def test_a_model_without_a_digest_is_taken_when_none_was_asked_for():
    assert decide(terms=Terms(TERMS.place, "", 2048), model=a_model(digest="")) is None


def test_a_longer_context_than_asked_for_does_no_harm():
    assert decide(terms=Terms(TERMS.place, TINY.digest, 1)) is None
