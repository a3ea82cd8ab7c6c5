"""Whatever a spoke says and whenever the hub cancels, a slot ends up clean."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hub.core.slot import Event, Slot, SlotState, check_chunk, step
from hubspoke.errors import ProtocolViolation

RUNS = {SlotState.BUSY, SlotState.DRAINING}
ATTEMPTS = st.none() | st.integers(0, 6)


class SlotOfAHub(RuleBasedStateMachine):
    """A hub that keeps to the rules and cancels at any moment, and a spoke that says anything."""

    def __init__(self):
        super().__init__()
        self.slot = Slot()
        self.offered = False
        self.attempts = 0
        self.runs: int | None = None

    @precondition(lambda self: self.slot.state is SlotState.IDLE)
    @rule()
    def assign(self):
        self.attempts += 1
        self.runs = self.attempts
        self.slot = step(self.slot, Event.ASSIGN, self.attempts)

    @precondition(lambda self: self.slot.state is SlotState.BUSY)
    @rule()
    def cancel(self):
        self.slot = step(self.slot, Event.CANCEL, self.runs)

    @rule(event=st.sampled_from([Event.OFFER, Event.WITHDRAW]))
    def hear_of_the_offer(self, event):
        try:
            self.slot = step(self.slot, event)
        except ProtocolViolation:
            assert self.offered is (event is Event.OFFER)
        else:
            self.offered = event is Event.OFFER

    @rule(event=st.sampled_from([Event.LAST, Event.DECLINED]), attempt=ATTEMPTS)
    def hear_an_end(self, event, attempt):
        try:
            self.slot = step(self.slot, event, attempt)
        except ProtocolViolation:
            assert self.runs is None or attempt != self.runs
        else:
            assert self.runs == attempt
            self.runs = None

    @rule(attempt=st.integers(0, 6))
    def hear_a_chunk(self, attempt):
        try:
            check_chunk(self.slot, attempt)
        except ProtocolViolation:
            assert attempt != self.runs
        else:
            assert attempt == self.runs

    @invariant()
    def a_slot_runs_exactly_what_it_was_given(self):
        assert (self.slot.attempt, self.slot.offered) == (self.runs, self.offered)
        assert (self.slot.state in RUNS) is (self.runs is not None)

    @invariant()
    def a_slot_takes_work_exactly_when_it_is_on_offer_and_free(self):
        assert (self.slot.state is SlotState.IDLE) is (self.offered and self.runs is None)

    def teardown(self):
        """Let whatever runs come to its end."""
        if self.runs is not None:
            self.slot = step(self.slot, Event.LAST, self.runs)
        assert self.slot.state in {SlotState.IDLE, SlotState.WITHDRAWN, SlotState.OPENED}


TestSlotOfAHub = SlotOfAHub.TestCase
