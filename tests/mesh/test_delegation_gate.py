"""The bench of the gate asks the models of a real mesh through its hub."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from bench.gate_arms import alone, gated
from bench.gate_jobs import short
from bench.gate_models import Real
from hubspoke.types import Mode, ModelKey
from tests.fakes.engine import FakeEngine, a_model
from tests.fakes.real_agent import an_agent

if TYPE_CHECKING:
    from tests.fakes.real_hub import RealHub


async def test_models_are_looked_at_measured_and_asked(hub: RealHub) -> None:
    big, small = (
        FakeEngine(a_model("big", slots=1)),
        FakeEngine(a_model("small", slots=2, digest="sha256:" + "b" * 64)),
    )
    async with an_agent(hub, "attic", big), an_agent(hub, "den", small), hub.app() as app:
        models = Real(app)
        fleet = await models.fleet("big", ("small",), 1)
        task = short(Random(0))
        choice, outcome = await gated(models, fleet, task)
        by_small = await alone(models, fleet.readers[0], "big", task)
    assert fleet.big.model == ModelKey("big")
    assert (
        [lane.model for lane in fleet.readers] == [lane.model for lane in fleet.workers] == ["small", "small"]
    )
    assert choice.mode is Mode.SOLO
    assert outcome.big_tokens > 0 == outcome.small_tokens
    assert by_small.small_tokens > 0 == by_small.big_tokens
