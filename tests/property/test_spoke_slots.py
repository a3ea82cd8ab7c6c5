"""Whatever a hub says and whenever, a slot ends up free, and what it owes the hub has been said exactly once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hubspoke.errors import ProtocolViolation, SlotTaken
from hubspoke.types import Delta
from spoke.core.coalesce import MARK_SHARE, Coalescer
from spoke.core.slots import Event, Phase, Slot

ATTEMPTS = st.integers(min_value=0, max_value=8)

ROUNDING_S = 1e-9


class SlotOfASpoke(RuleBasedStateMachine):
    """A hub that says anything at any moment, and a spoke that keeps to the rules."""

    def __init__(self):
        super().__init__()
        self.slot = Slot()
        self.owed: list[int] = []  # attempts that have neither had their Last nor their Declined
        self.seen: set[int] = set()

    @precondition(lambda self: self.slot.is_idle and not self.slot.offered)
    @rule()
    def offer(self):
        self.slot = self.slot.after(Event.OFFER)

    @precondition(lambda self: self.slot.is_idle and self.slot.offered)
    @rule()
    def withdraw(self):
        self.slot = self.slot.after(Event.WITHDRAW)

    @rule(attempt=ATTEMPTS, has_room=st.booleans())
    def hear_assignment(self, attempt, has_room):
        before = self.slot
        why = None if has_room and before.offered else SlotTaken("busy")
        try:
            self.slot = before.assigned(attempt, why)
        except ProtocolViolation:
            assert before.phase is not Phase.IDLE or attempt in {0, before.attempt}
        else:
            assert not self.owed
            self.owed.append(attempt)

    @rule(attempt=ATTEMPTS)
    def hear_cancel(self, attempt):
        before = self.slot
        self.slot = before.cancelled(attempt)
        assert self.slot == before or self.owed == [attempt]

    @precondition(lambda self: self.slot.phase in {Phase.RUNNING, Phase.STOPPING})
    @rule()
    def say_last(self):
        self.slot = self.slot.after(Event.LAST)
        assert self.owed.pop() == self.slot.attempt

    @precondition(lambda self: self.slot.phase is Phase.DECLINING)
    @rule()
    def say_declined(self):
        self.slot = self.slot.after(Event.DECLINED)
        assert self.owed.pop() == self.slot.attempt

    @invariant()
    def a_slot_is_idle_exactly_when_it_owes_nothing(self):
        assert self.slot.is_idle is not bool(self.owed)


TestSlotOfASpoke = SlotOfASpoke.TestCase


@given(
    steps=st.lists(
        st.tuples(st.text(max_size=40), st.integers(0, 3), st.floats(0.0, 0.1), st.booleans()), max_size=60
    ),
    interval_s=st.floats(0.015, 0.050),
)
def test_no_token_is_lost_or_sent_twice_or_late(steps, interval_s):
    gathered = Coalescer(interval_s)
    now, sent, sent_tokens, due = 0.0, "", 0, None
    for text, tokens, passed_s, is_asked in steps:
        added_due = gathered.add(Delta(text, tokens))
        assert added_due <= now + interval_s * (1 + MARK_SHARE) + ROUNDING_S
        due = added_due if due is None else min(due, added_due)
        now += passed_s
        if (is_asked or now >= due) and (batch := gathered.take(now)):
            sent, sent_tokens, due = sent + batch.text, sent_tokens + batch.tokens, None
    if batch := gathered.take(now):
        sent, sent_tokens = sent + batch.text, sent_tokens + batch.tokens
    assert sent == "".join(text for text, *_ in steps)
    assert sent_tokens == sum(tokens for _, tokens, *_ in steps)
