"""The phases of an exchange, and what nodes have to hold in each."""

from datetime import UTC, datetime

import pytest

from pki import rotation
from pki.errors import NoSuchStep
from pki.policy import KeyId
from pki.rotation import (
    NEXT,
    NODES_ARE_ASKED,
    STANCES,
    Holder,
    InUse,
    Kind,
    Numbers,
    Phase,
    Record,
    Signers,
    in_use,
    stays_behind,
    waits_for,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)
OLD, NEW = KeyId(b"old"), KeyId(b"new")


def story(kind: Kind) -> list[Record]:
    """Every record from the first phase of *kind* to its end."""
    records = [rotation.begin(Record(), kind, NOW)]
    while records[-1].rotation is not None:
        records.append(rotation.advance(records[-1], NOW))
    return records


@pytest.mark.parametrize(
    ("kind", "phases"),
    [
        (Kind.NODE_ISSUING, [Phase.ANCHOR, Phase.SIGN, Phase.STEADY]),
        (Kind.HUB_ISSUING, [Phase.SHOW, Phase.STEADY]),
        (Kind.ROOT, [Phase.INIT, Phase.UPDATE_CLIENTS, Phase.UPDATE_HUB, Phase.STEADY]),
    ],
)
def test_an_exchange_goes_through_its_phases(kind: Kind, phases: list[Phase]):
    assert [record.phase for record in story(kind)] == phases


def test_every_phase_says_what_holds_in_it():
    assert {pair for pair in NEXT if pair[1] is not Phase.STEADY} == set(STANCES)
    assert set(STANCES) >= NODES_ARE_ASKED


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        (Kind.NODE_ISSUING, Numbers(1, 1, 2)),
        (Kind.HUB_ISSUING, Numbers(1, 2, 1)),
        (Kind.ROOT, Numbers(2, 2, 2)),
    ],
)
def test_at_the_end_only_the_new_is_in_use(kind: Kind, numbers: Numbers):
    assert story(kind)[-1].old == numbers
    assert in_use(story(kind)[-1]) == InUse((numbers.root,), (numbers.node_issuing,), numbers.hub_issuing)


def test_a_new_root_is_trusted_before_anything_below_it_is_shown():
    init, clients, hub, _ = map(in_use, story(Kind.ROOT))
    assert init == InUse(roots=(1, 2), node_issuers=(1, 2), hub_issuer=1)
    assert clients == InUse(roots=(1, 2), node_issuers=(2, 1), hub_issuer=1)
    assert hub == InUse(roots=(2, 1), node_issuers=(2, 1), hub_issuer=2)


@pytest.mark.parametrize(
    ("kind", "generations"),
    [(Kind.NODE_ISSUING, [1, 2, 2]), (Kind.HUB_ISSUING, [1, 1]), (Kind.ROOT, [2, 3, 3, 4])],
)
def test_a_generation_is_counted_when_nodes_have_something_to_take_over(kind: Kind, generations: list[int]):
    assert [record.generation for record in story(kind)] == generations


@pytest.mark.parametrize("kind", Kind)
def test_from_every_phase_a_way_leads_back_to_what_was_in_use(kind: Kind):
    for record in story(kind)[:-1]:
        back = rotation.roll_back(record, NOW)
        assert back.phase is Phase.ROLLBACK
        assert in_use(back).hub_issuer == 1
        assert in_use(back).node_issuers[0] == in_use(back).roots[0] == 1
        assert set(in_use(record).node_issuers) <= set(in_use(back).node_issuers)
        over = rotation.advance(back, NOW)
        assert (over.old, over.phase) == (Numbers(), Phase.STEADY)
        assert over.generation >= record.generation


def test_what_is_no_step_is_refused():
    under_way = rotation.begin(Record(), Kind.ROOT, NOW)
    with pytest.raises(NoSuchStep, match="root is being exchanged, in phase init"):
        rotation.begin(under_way, Kind.NODE_ISSUING, NOW)
    for step in (rotation.advance, rotation.roll_back):
        with pytest.raises(NoSuchStep, match="nothing is being exchanged"):
            step(Record(), NOW)
    with pytest.raises(NoSuchStep, match="rolled back already"):
        rotation.roll_back(rotation.roll_back(under_way, NOW), NOW)


def test_the_next_phase_waits_for_who_has_not_said_that_it_holds_the_roots():
    init = story(Kind.ROOT)[0]
    signers = Signers(now=OLD, next=frozenset({OLD, NEW}))
    assert waits_for(init, Holder("den", 1, OLD), signers) == "holds generation 1, not 2"
    assert not waits_for(init, Holder("den", 2, OLD), signers)


def test_the_next_phase_waits_for_who_has_no_certificate_of_the_new_issuer():
    clients = story(Kind.ROOT)[1]
    signers = Signers(now=NEW, next=frozenset({OLD, NEW}))
    assert "new certificate" in waits_for(clients, Holder("den", 3, OLD), signers)
    assert not waits_for(clients, Holder("den", 3, NEW, frozenset({OLD})), signers)


def test_the_end_waits_for_calls_that_began_with_an_old_certificate():
    hub = story(Kind.ROOT)[2]
    signers = Signers(now=NEW, next=frozenset({NEW}))
    assert "calls under way" in waits_for(hub, Holder("den", 3, NEW, frozenset({OLD, NEW})), signers)
    assert not waits_for(hub, Holder("den", 3, NEW, frozenset({NEW})), signers)


def test_nobody_is_waited_for_who_is_away_or_has_nothing_to_do():
    signers = Signers(now=NEW, next=frozenset({NEW}))
    late = Holder("den", 0, OLD)
    assert not waits_for(story(Kind.HUB_ISSUING)[0], late, signers)
    assert not waits_for(Record(), late, signers)
    assert not waits_for(story(Kind.ROOT)[2], Holder("den", 0, OLD, is_live=False), signers)


def test_a_way_back_does_not_wait_for_who_never_took_part():
    back = rotation.roll_back(story(Kind.ROOT)[1], NOW)
    signers = Signers(now=OLD, next=frozenset({OLD}))
    assert not waits_for(back, Holder("den", 1, OLD), signers)
    assert "holds generation 3" in waits_for(back, Holder("den", 3, OLD), signers)


def test_who_was_away_for_all_of_it_stays_behind():
    hub = story(Kind.ROOT)[2]
    assert stays_behind(hub, Holder("den", 1, OLD, is_live=False))
    assert not stays_behind(hub, Holder("den", 2, OLD, is_live=False))
    assert not stays_behind(rotation.roll_back(hub, NOW), Holder("den", 1, OLD, is_live=False))
    assert not stays_behind(story(Kind.NODE_ISSUING)[1], Holder("den", 0, OLD, is_live=False))
