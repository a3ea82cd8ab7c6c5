import pytest

from hub.core.admission import (
    BATCH_AGEING_S,
    QUEUE_BYTES_MAX,
    QUEUE_LIMIT,
    QUEUE_S_MAX,
    admit,
    gives_up_at,
    turn,
)
from hubspoke.errors import QueueFull
from hubspoke.types import Priority
from tests.unit.hub_core.machines import NOW, an_ask

BATCH = an_ask(priority=Priority.BATCH)


def test_the_queue_has_an_end():
    admit(an_ask(), QUEUE_LIMIT - 1, 0)
    with pytest.raises(QueueFull, match="256 requests wait already"):
        admit(an_ask(), QUEUE_LIMIT, 0)


def test_batch_requests_get_half_of_it():
    admit(BATCH, QUEUE_LIMIT // 2 - 1, 0)
    with pytest.raises(QueueFull):
        admit(BATCH, QUEUE_LIMIT // 2, 0)


def test_a_few_long_requests_fill_the_queue_too():
    admit(an_ask(), 3, QUEUE_BYTES_MAX)
    with pytest.raises(QueueFull, match="bytes"):
        admit(an_ask(), 3, QUEUE_BYTES_MAX + 1)


def test_nobody_waits_for_ever():
    assert gives_up_at(an_ask()) == NOW + QUEUE_S_MAX
    assert gives_up_at(an_ask(deadline_at=NOW + 5)) == NOW + 5
    assert gives_up_at(an_ask(deadline_at=NOW + 10 * QUEUE_S_MAX)) == NOW + QUEUE_S_MAX


def test_interactive_requests_go_first_then_those_that_came_first():
    late, early = an_ask(arrived_at=NOW + 2), an_ask(arrived_at=NOW + 1)
    assert sorted([BATCH, late, early], key=lambda ask: turn(ask, NOW + 3)) == [early, late, BATCH]


def test_a_batch_request_that_has_waited_long_is_served_too():
    late = an_ask(arrived_at=NOW + 1)
    assert min([late, BATCH], key=lambda ask: turn(ask, NOW + BATCH_AGEING_S)) is BATCH
