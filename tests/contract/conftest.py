"""The engines that the contract holds for. Each one has a real model, whose right answers are known."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hubspoke.clock import SystemClock
from hubspoke.types import LoadPlan
from spoke.engines.llamacpp import EmbeddedEngine
from spoke.models.store import SHIPPED, ModelStore
from spoke.platform import Platform, here
from tests.contract.bench import LOOPBACK, Bench


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ModelStore]:
    models = ModelStore([SHIPPED, tmp_path], tmp_path / "catalogue.json")
    yield models
    await models.aclose()


@pytest.fixture(params=["unix socket", "loopback"])
def platform(request: pytest.FixtureRequest) -> Platform:
    if request.param == "loopback":
        return LOOPBACK
    if not here().has_unix_sockets:
        pytest.skip("this system has no unix sockets")
    return here()


@pytest.fixture
async def embedded(store: ModelStore, platform: Platform) -> AsyncIterator[EmbeddedEngine]:
    plan = LoadPlan(slots=2, context_tokens=2048)
    engine = EmbeddedEngine(store, plan=plan, platform=platform, clock=SystemClock())
    yield engine
    await engine.aclose()


@pytest.fixture
def bench(embedded: EmbeddedEngine) -> Bench:
    return Bench(embedded)


@pytest.fixture
async def warm(bench: Bench) -> Bench:
    """Give a bench whose model is loaded."""
    await bench.engine.load(bench.model, bench.context_tokens)
    return bench
