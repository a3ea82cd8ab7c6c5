"""How often what a model did was accepted is known to the next hub too, and nothing is counted twice."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from itertools import cycle
from typing import TYPE_CHECKING

import pytest

from hub.store.accepts import AcceptStore
from hub.store.database import Database
from hubspoke.clock import SystemClock
from hubspoke.types import DelegationState, Review
from tests.fakes.delegating import ORCHESTRATED, A, asked, done, planned, until
from tests.fakes.engine import Gate
from tests.fakes.real_agent import an_agent
from tests.fakes.real_hub import real_hub, started_again
from tests.fakes.replying_engine import ReplyingEngine, a_skilled_model

if TYPE_CHECKING:
    from pathlib import Path

    from hub.core.delegation.accepts import Tally
    from hubspoke.types import Work


@pytest.fixture(autouse=True)
def _busy_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bear a disk that others write to as well: how long a hub that stops waits for it is not what this is about."""
    monkeypatch.setattr("hub.server.LAST_SAVE_S", 30.0)


def work(number: int) -> Work:
    """One subtask of the kind `extract`, to be reviewed."""
    return planned(asked(A, "find it", task="extract"), request_id=str(number), review=Review.ALWAYS)


def reviewer(*verdicts: str) -> ReplyingEngine:
    """The orchestrator, that says *verdicts* in turn."""
    said = cycle(verdicts)
    return ReplyingEngine(
        a_skilled_model("big", digit="b"),
        replies=lambda _: json.dumps({"verdicts": [{"id": A, "verdict": next(said), "reason": "because"}]}),
    )


async def kept(directory: Path) -> dict[str, Tally]:
    """Read what a hub that has stopped has kept, by kind of task."""
    database = await Database.open(directory / "hub" / "state.db")
    try:
        found = await AcceptStore(database, SystemClock()).load()
    finally:
        await database.close()
    return {kind.task: tally for kind, tally in found.tallies.items()}


async def test_a_hub_goes_on_counting_where_the_one_before_it_stopped(tmp_path: Path):
    big, small = reviewer("repair", "accept"), ReplyingEngine()
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as first:
            hub = await first.enter_async_context(real_hub(tmp_path, roles=ORCHESTRATED))
            app = await stack.enter_async_context(hub.app())
            await stack.enter_async_context(an_agent(hub, "den", small))
            await stack.enter_async_context(an_agent(hub, "tower", big))
            for number in (1, 2):
                await done(app, work(number))
        tally = (await kept(hub.directory))["extract"]
        assert (tally.accepted, tally.reviewed) == (0, 2)
        async with started_again(hub, roles=ORCHESTRATED) as again:
            for name in ("den", "tower"):
                await again.is_listed(name, 2)
            await done(app, work(3))
    tally = (await kept(hub.directory))["extract"]
    assert (tally.accepted, tally.reviewed) == (0, 3)


async def test_a_review_that_a_hub_had_counted_before_it_went_down_is_not_counted_again(tmp_path: Path):
    gate = Gate()
    small = ReplyingEngine(
        replies=lambda prompt: (gate, "later") if "An earlier answer" in prompt else "soon"
    )
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as first:
            hub = await first.enter_async_context(real_hub(tmp_path, roles=ORCHESTRATED))
            app = await stack.enter_async_context(hub.app())
            await stack.enter_async_context(an_agent(hub, "den", small))
            await stack.enter_async_context(an_agent(hub, "tower", reviewer("repair", "accept")))
            info = await app.delegations.hand_over(work(1))
            await gate.reached.wait()
        assert (await kept(hub.directory))["extract"].reviewed == 1
        gate.open()
        async with started_again(hub, roles=ORCHESTRATED):
            assert (await until(app, info.id, DelegationState.SUCCEEDED)).result == "later"
    assert (await kept(hub.directory))["extract"].reviewed == 1
