"""Nothing but the world is left out: Ollama's client, the gateway, a hub, an agent, llama.cpp and the tiny model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hubspoke.clock import SystemClock
from hubspoke.types import LoadPlan
from spoke.engines.llamacpp.build import Build
from spoke.engines.llamacpp.engine import EmbeddedEngine
from spoke.gpu.none import NoGpus
from spoke.models import store as model_store
from spoke.models.store import SHIPPED, ModelStore
from spoke.platform import here
from tests.fakes.real_hub import WAIT_S
from tests.gateway.ollama_apps import HELLO, an_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.gateway.conftest import Gateway

PLAN = LoadPlan(slots=2, context_tokens=2048)
OPTIONS = {"temperature": 0, "num_predict": 12}


@pytest.fixture
async def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EmbeddedEngine]:
    monkeypatch.setattr(model_store, "PATIENCE_S", WAIT_S)  # a slow disk must not make the model unknown
    store = ModelStore([SHIPPED], tmp_path / "catalogue.json")
    clock = SystemClock()
    made = EmbeddedEngine(store, plan=PLAN, platform=here(), clock=clock, build=Build(clock), cards=NoGpus())
    yield made
    await made.aclose()
    await store.aclose()


async def test_a_real_model_says_the_same_in_one_and_in_pieces(
    gateway: Gateway, engine: EmbeddedEngine
) -> None:
    async with gateway.spoke(engine), an_app(gateway) as app:
        whole = await app.chat("tiny", HELLO, options=OPTIONS)
        *parts, last = [part async for part in await app.chat("tiny", HELLO, options=OPTIONS, stream=True)]
        shown = await app.show("tiny")
    assert whole.message.content
    assert "".join(part.message.content for part in parts) == whole.message.content
    assert (last.eval_count, last.done_reason) == (whole.eval_count, whole.done_reason)
    assert last.eval_duration > 0
    assert last.prompt_eval_duration > 0
    assert whole.load_duration > last.load_duration, "the first one has loaded the model"
    assert shown.modelinfo[f"{shown.modelinfo['general.architecture']}.context_length"] > 0
