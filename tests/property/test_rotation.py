"""What holds on every way through an exchange of authorities."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from pki import rotation
from pki.errors import NoSuchStep
from pki.rotation import Kind, Phase, Record, in_use

NOW = datetime(2030, 1, 1, tzinfo=UTC)
STEPS = st.lists(st.sampled_from(["advance", "roll back", *Kind]), max_size=30)


def stepped(record: Record, step: str) -> Record:
    try:
        if step == "advance":
            return rotation.advance(record, NOW)
        if step == "roll back":
            return rotation.roll_back(record, NOW)
        return rotation.begin(record, Kind(step), NOW)
    except NoSuchStep:
        return record


@given(STEPS)
def test_who_is_at_most_one_phase_behind_is_never_cut_off(steps: list[str]):
    record = Record()
    for step in steps:
        after = stepped(record, step)
        was, is_now = in_use(record), in_use(after)
        # A certificate that was made before counts after, and who has the roots of before believes the hub of after.
        assert was.node_issuers[0] in is_now.node_issuers
        assert is_now.roots[0] in was.roots
        # What signs after was taken before, unless nothing was exchanged until then.
        assert is_now.node_issuers[0] in was.node_issuers or record.phase is Phase.STEADY
        assert after.generation - record.generation in {0, 1}
        record = after


@given(STEPS)
def test_a_generation_stands_for_one_set_of_roots_and_one_signer(steps: list[str]):
    record, meanings = Record(), {}
    for step in steps:
        record = stepped(record, step)
        using = in_use(record)
        meaning = (frozenset(using.roots), using.node_issuers[0], record.old.root)
        seen = meanings.setdefault(record.generation, meaning)
        assert seen[:2] == meaning[:2]


@given(STEPS, st.sampled_from(Kind))
def test_whatever_is_exchanged_makes_another_edition(steps: list[str], kind: Kind):
    record = Record()
    for step in steps:
        record = stepped(record, step)
    while record.phase is not Phase.STEADY:
        record = stepped(record, "advance")
    before, record = rotation.edition(record), stepped(record, kind)
    while record.phase is not Phase.STEADY:
        record = stepped(record, "advance")
    assert rotation.edition(record) > before


@given(STEPS)
def test_the_way_to_the_end_is_never_longer_than_four_steps(steps: list[str]):
    record = Record()
    for step in steps:
        record = stepped(record, step)
    for _ in range(4):
        record = stepped(record, "advance")
    assert record.phase is Phase.STEADY
