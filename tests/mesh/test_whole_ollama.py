"""A mesh whose spoke has an Ollama: a double of it, which runs the shipped models. What they say is scripted where it matters."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from hubspoke.admin import AdminClient
from hubspoke.errors import UnknownModel, Unsupported
from hubspoke.types import (
    Calling,
    Capability,
    Effort,
    FinishReason,
    JsonFormat,
    Message,
    Place,
    Pulled,
    Pulling,
    Request,
    Sampling,
    Speaker,
    Tool,
    ToolChoice,
)
from spoke.models.store import SHIPPED, ModelStore
from spoke.platform import here
from tests.contract.conftest import PLAN, an_embedded_engine, an_ollama_engine
from tests.fakes.ollama_server import an_ollama
from tests.fakes.real_agent import an_agent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.ollama import OllamaDouble
    from tests.fakes.real_hub import RealHub

WAIT_S = 20.0
ABLE = ("completion", "tools", "thinking", "embedding")
WEATHER = Tool("weather", "Tells the weather.", '{"type":"object","properties":{"city":{"type":"string"}}}')


@pytest.fixture
async def double(tmp_path: Path) -> AsyncIterator[OllamaDouble]:
    store = ModelStore([SHIPPED], tmp_path / "catalogue.json")
    async with an_ollama(an_embedded_engine(store, here()), store, parallel=PLAN.slots) as made:
        made.capabilities["tiny"] = ABLE
        yield made
    await store.aclose()


@pytest.fixture
async def admin(hub: RealHub, double: OllamaDouble) -> AsyncIterator[AdminClient]:
    """Give an admin of a mesh whose one spoke has that Ollama."""
    engine = an_ollama_engine(double.url)
    async with an_agent(hub, "den", engine), AdminClient(hub.admin.directory) as connected:
        await hub.has_model("den", "tiny")
        yield connected
    await engine.aclose()


def asking(text: str, model: str = "tiny", **changes: object) -> Request:
    options = {"sampling": Sampling(temperature=0.0), **changes}
    return Request(model, (Message(Speaker.USER, text),), **options)


async def test_calls_and_thoughts_arrive_at_the_app(double: OllamaDouble, admin: AdminClient) -> None:
    call = {"function": {"name": "weather", "arguments": {"city": "oslo"}}}
    double.script = [{"thinking": "Hm."}, {"content": "Let me see."}, {"tool_calls": [call]}]

    answer = await admin.answer(asking("weather?", tools=(WEATHER,), thinking=Effort.LOW))

    assert (answer.thinking, answer.text) == ("Hm.", "Let me see.")
    assert [(one.name, json.loads(one.arguments)) for one in answer.tool_calls] == [
        ("weather", {"city": "oslo"})
    ]
    assert answer.finished.reason is FinishReason.TOOL_CALLS


async def test_answers_keep_to_a_format(double: OllamaDouble, admin: AdminClient) -> None:
    double.script = [{"content": '{"n": 7}'}]

    assert json.loads((await admin.answer(asking("json", format=JsonFormat()))).text) == {"n": 7}


async def test_a_call_that_ollama_cannot_be_made_to_make_is_refused(admin: AdminClient) -> None:
    with pytest.raises(Unsupported, match="cannot do tool_choice"):
        await admin.answer(asking("weather?", tools=(WEATHER,), tool_choice=ToolChoice(Calling.REQUIRED)))


async def test_texts_become_vectors(admin: AdminClient) -> None:
    vectors = await admin.embed("tiny", [f"text {number}" for number in range(40)], dimensions=8)

    assert [len(vector) for vector in vectors.vectors] == [8] * 40


async def test_a_model_is_pulled_with_progress_and_answers_then(
    double: OllamaDouble, admin: AdminClient
) -> None:
    double.hidden.add("nano")
    async with asyncio.timeout(WAIT_S), aclosing(admin.pull("nano", spoke="den")) as events:
        seen = [event async for event in events]

    assert seen[-1] == Pulled("den", Place("ollama", "nano"))
    assert all(isinstance(event, Pulling) for event in seen[:-1])
    assert (await admin.answer(asking("hello", "nano"))).text == "Hello! I am a nano model."
    (nano,) = [model for model in await admin.models() if "nano" in model.names]
    assert nano.capabilities >= {Capability.CHAT, Capability.JSON_SCHEMA, Capability.SAMPLING}


async def test_a_model_that_nobody_has_cannot_be_pulled(admin: AdminClient) -> None:
    with pytest.raises(UnknownModel, match="library"):
        [event async for event in admin.pull("no-such-model", spoke="den")]
