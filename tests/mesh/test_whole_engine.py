"""Everything is real, the engine and its model too: what an app asks for is what llama.cpp does."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest

from hubspoke.errors import ContextTooLong, InvalidRequest, Unsupported
from hubspoke.types import (
    Calling,
    Effort,
    FinishReason,
    Image,
    JsonFormat,
    Message,
    Request,
    Sampling,
    Speaker,
    Tool,
    ToolChoice,
)
from spoke.models.store import SHIPPED, ModelStore
from spoke.platform import here
from tests.contract.conftest import an_embedded_engine
from tests.fakes.images import png
from tests.fakes.real_agent import an_agent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hubspoke.client import MeshClient
    from tests.fakes.real_hub import RealHub

WEATHER = Tool("weather", "Tells the weather.", '{"type":"object","properties":{"city":{"type":"string"}}}')
CLOCK = Tool("clock", "Tells the time.")
PERSON = JsonFormat('{"type":"object","properties":{"name":{"type":"string"},"n":{"type":"integer"}}}')


@pytest.fixture
async def app(hub: RealHub, tmp_path: Path) -> AsyncIterator[MeshClient]:
    """Give an app of a mesh whose one spoke runs the shipped models."""
    store = ModelStore([SHIPPED], tmp_path / "catalogue.json")
    engine = an_embedded_engine(store, here())
    async with an_agent(hub, "den", engine), hub.app() as connected:
        await hub.has_model("den", "tiny")
        yield connected
    await engine.aclose()
    await store.aclose()


def asking(text: str, **changes: object) -> Request:
    options = {"sampling": Sampling(temperature=0.0), **changes}
    return Request("tiny", (Message(Speaker.USER, text),), **options)


async def test_tools_are_called_and_their_results_are_heard(app: MeshClient) -> None:
    asked = asking("call weather with oslo, call clock", tools=(WEATHER, CLOCK))
    called = await app.answer(asked)

    results = [
        Message(Speaker.TOOL, text, tool_call_id=call.id, tool_name=call.name)
        for call, text in zip(called.tool_calls, ("sunny", "noon"), strict=True)
    ]
    said = Message(Speaker.ASSISTANT, called.text, tool_calls=called.tool_calls)
    answer = await app.answer(
        Request("tiny", (*asked.messages, said, *results), sampling=asked.sampling, tools=asked.tools)
    )

    assert called.finished.reason is FinishReason.TOOL_CALLS
    assert [(call.name, json.loads(call.arguments)) for call in called.tool_calls] == [
        ("weather", {"city": "oslo"}),
        ("clock", {}),
    ]
    assert answer.text == "It is sunny and noon."


async def test_a_call_that_is_required_is_made(app: MeshClient) -> None:
    named = ToolChoice(Calling.REQUIRED, name="clock")

    answer = await app.answer(asking("hello", tools=(WEATHER, CLOCK), tool_choice=named))

    assert {call.name for call in answer.tool_calls} == {"clock"}


async def test_answers_are_held_to_a_schema(app: MeshClient) -> None:
    answer = await app.answer(asking("json abc 7", format=PERSON))

    assert json.loads(answer.text) == {"name": "abc", "n": 7}


async def test_a_schema_that_refers_to_the_world_is_refused(app: MeshClient) -> None:
    with pytest.raises(InvalidRequest):
        await app.answer(asking("hello", format=JsonFormat('{"$ref": "http://127.0.0.1:9/"}')))


async def test_thoughts_are_apart_and_can_be_switched_off(app: MeshClient) -> None:
    loud = await app.answer(asking("think capital of france"))
    quiet = await app.answer(asking("think capital of france", thinking=Effort.NONE))

    assert (loud.thinking.strip(), loud.text) == ("It is about france.", "Paris")
    assert (quiet.thinking, quiet.text) == ("", "Paris")


async def test_texts_become_vectors(app: MeshClient) -> None:
    vectors = await app.embed("tiny", [f"text {number}" for number in range(70)], dimensions=32)

    assert len(vectors.vectors) == 70
    assert all(len(vector) == 32 for vector in vectors.vectors)
    assert all(math.isclose(math.hypot(*vector), 1, abs_tol=1e-5) for vector in vectors.vectors)


async def test_a_text_that_is_too_long_is_not_cut(app: MeshClient) -> None:
    with pytest.raises(ContextTooLong):
        await app.embed("tiny", ["a" * 5000])


async def test_what_a_model_cannot_do_is_refused_by_the_hub(app: MeshClient) -> None:
    blind = Message(Speaker.USER, "what is it", images=(Image(png(2, 2)),))

    with pytest.raises(Unsupported, match="vision"):
        await app.answer(Request("tiny", (blind,)))
    with pytest.raises(Unsupported, match="embed"):
        await app.embed("nano", ["hello"])
    with pytest.raises(Unsupported, match="tools"):
        await app.answer(Request("nano", (Message(Speaker.USER, "hello"),), tools=(CLOCK,)))
