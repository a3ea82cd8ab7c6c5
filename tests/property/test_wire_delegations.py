"""Work that is handed over, and what becomes of it, arrive as they left."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubspoke.errors import InvalidRequest
from hubspoke.types import DelegationEvent, DelegationInfo, Work
from hubspoke.wire import delegated, delegations
from tests.property.delegation_values import events, infos, works
from tests.property.wire_values import garbage


@given(works())
def test_work_survives_the_wire(work: Work):
    assert delegations.work_from_bytes(delegations.work_to_bytes(work)) == work


@given(works(), works())
def test_only_equal_work_has_the_same_digest(one: Work, other: Work):
    assert (delegations.digest_of(one) == delegations.digest_of(other)) == (one == other)


@given(works(), st.data())
def test_damaged_work_is_refused_or_work(work: Work, data: st.DataObject):
    whole = delegations.work_to_bytes(work)
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 8)))
    damaged = whole[:start] + data.draw(st.binary(max_size=8)) + whole[end:]
    try:
        again = delegations.work_from_bytes(damaged)
    except InvalidRequest:
        return
    assert delegations.work_from_bytes(delegations.work_to_bytes(again)) == again


@given(garbage)
def test_bytes_that_are_no_work_are_refused(body: bytes):
    with pytest.raises(InvalidRequest):
        delegations.work_from_bytes(body)


@given(infos)
def test_how_a_delegation_stands_survives_the_wire(info: DelegationInfo):
    assert delegated.info_from_wire(delegated.info_to_wire(info)) == info


@given(events)
def test_what_happened_survives_the_wire(event: DelegationEvent):
    assert delegated.event_from_wire(delegated.event_to_wire(event)) == event


@given(events)
def test_what_happened_survives_being_kept(event: DelegationEvent):
    kept = delegated.happening_to_bytes(event.happening)
    assert delegated.happening_from_bytes(kept) == event.happening
