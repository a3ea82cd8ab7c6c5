"""A real Ollama, where one is named: `OLLAMA_HOST=127.0.0.1:11434 pytest tests/contract/test_real_ollama.py`.

Every other test here asks the double, which is our reading of Ollama. These say whether that reading is right. Each takes
the smallest model there that can do what it is about, and is left out where there is none. Nothing is pulled unless
`HUBSPOKE_TEST_PULL` names a model, such as `all-minilm`; it stays there.
"""

import asyncio
import json
import math
import os
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from hubspoke.errors import ContextTooLong, UnknownModel
from hubspoke.types import (
    Capability,
    Delta,
    Effort,
    EmbedRequest,
    Finished,
    FinishReason,
    JsonFormat,
    LoadPlan,
    Message,
    Model,
    ModelState,
    Request,
    Sampling,
    Speaker,
    Tool,
    ToolCall,
)
from spoke.engines.ollama.address import HOST_VARIABLE, usual_address
from spoke.engines.ollama.engine import OllamaEngine
from spoke.engines.ollama.http import OllamaClient
from spoke.engines.ollama.server import OllamaServer
from spoke.gpu.none import NoGpus
from tests.contract.bench import begun, chat, described

LOAD_TIMEOUT_S = 300.0
CONTEXT_TOKENS = 2048
PULL_VARIABLE = "HUBSPOKE_TEST_PULL"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["city", "people"],
    "additionalProperties": False,
}
WEATHER = Tool(
    "weather",
    "Tells the weather of today in a city.",
    '{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}',
)

pytestmark = [
    pytest.mark.skipif(not os.environ.get(HOST_VARIABLE), reason="no real Ollama: OLLAMA_HOST is not set"),
    pytest.mark.timeout(2 * LOAD_TIMEOUT_S),
]


@pytest.fixture
def client() -> OllamaClient:
    return OllamaClient(OllamaServer(usual_address(os.environ)))


@pytest.fixture
async def engine(client: OllamaClient) -> AsyncIterator[OllamaEngine]:
    made = OllamaEngine(client, plan=LoadPlan(1, CONTEXT_TOKENS), gpus=NoGpus().probe)
    info = await made.probe()
    assert (info.fault, bool(info.version), info.pulls) == ("", True, True)
    yield made
    await made.aclose()


async def loaded(engine: OllamaEngine, *needs: Capability) -> Model:
    """Load the smallest model that can do that; skip the test where there is none."""
    able = [
        model
        for model in await engine.models()
        if model.capabilities.issuperset(needs) and model.state is ModelState.COLD
    ]
    if not able:
        pytest.skip(f"this Ollama has no model on its disk alone that can do {', '.join(needs)}")
    model = min(able, key=lambda one: one.size_bytes)
    async with asyncio.timeout(LOAD_TIMEOUT_S):
        await engine.load(model.name, CONTEXT_TOKENS)
    return await described(engine, model.name)


async def answer(engine: OllamaEngine, model: Model, request: Request) -> tuple[list[Delta], Finished]:
    async with asyncio.timeout(LOAD_TIMEOUT_S), aclosing(engine.generate(model.name, request)) as events:
        *deltas, finished = [event async for event in events]
    assert isinstance(finished, Finished)
    return deltas, finished


async def test_a_real_ollama_keeps_the_contract(client: OllamaClient, engine: OllamaEngine):
    model = await loaded(engine, Capability.CHAT)
    before = await client.loaded(1, {})
    await (await begun(engine, model.name, chat("Count from 1 to 200."))).aclose()
    _, finished = await answer(engine, model, chat("Say hi.", max_output_tokens=8))
    every = Sampling(0.5, 0.9, 20, 0.05, 7, frequency_penalty=0.1, presence_penalty=0.1, repeat_penalty=1.1)
    await answer(engine, model, chat("Say hi.", max_output_tokens=8, sampling=every, stop=("x",)))
    await answer(engine, model, Request("m", prompt="1 2 3 4", max_output_tokens=8))
    after = await client.loaded(1, {})

    assert model.digest.startswith("sha256:")
    assert model.loaded is not None
    assert model.loaded.context_tokens == CONTEXT_TOKENS
    assert 0 <= (model.loaded.vram_bytes or 0) <= model.loaded.memory_bytes
    assert model.loaded.memory_bytes > 0
    assert finished.reason in {FinishReason.STOP, FinishReason.LENGTH}
    assert 0 < finished.usage.output_tokens <= 8
    assert after[model.name] == before[model.name], "a request made Ollama load the model anew"
    with pytest.raises(ContextTooLong):
        await answer(engine, model, chat("word " * 2 * CONTEXT_TOKENS))
    await engine.unload(model.name)
    assert (await described(engine, model.name)).state is ModelState.COLD


async def test_a_real_ollama_keeps_to_a_schema(engine: OllamaEngine):
    model = await loaded(engine, Capability.CHAT, Capability.JSON_SCHEMA)
    request = chat(
        "Name a city and how many people live there, as JSON.", format=JsonFormat(json.dumps(SCHEMA))
    )

    deltas, finished = await answer(engine, model, request)

    assert finished.reason is FinishReason.STOP
    assert set(json.loads("".join(delta.text for delta in deltas))) == {"city", "people"}


async def test_a_real_ollama_calls_tools_and_takes_their_results(engine: OllamaEngine):
    model = await loaded(engine, Capability.TOOLS)
    question = Message(Speaker.USER, "What is the weather in Paris? Use the tool.")
    deltas, finished = await answer(
        engine,
        model,
        Request("m", messages=(question,), tools=(WEATHER,), sampling=Sampling(temperature=0.0)),
    )
    (call, *_) = [part for delta in deltas for part in delta.tool_calls]

    assert finished.reason is FinishReason.TOOL_CALLS
    assert (call.name, call.index) == ("weather", 0)
    assert "paris" in call.arguments.lower()

    made = Message(Speaker.ASSISTANT, "", tool_calls=(ToolCall(call.name, call.arguments, call.id),))
    result = Message(Speaker.TOOL, "Hail, 3 degrees.", tool_name=call.name, tool_call_id=call.id)
    deltas, finished = await answer(
        engine, model, Request("m", messages=(question, made, result), tools=(WEATHER,))
    )
    assert finished.reason is FinishReason.STOP
    assert any(delta.text for delta in deltas)


async def test_a_real_ollama_tells_thoughts_from_text(engine: OllamaEngine):
    model = await loaded(engine, Capability.THINKING)

    deltas, _ = await answer(engine, model, chat("What is 7 times 8?", thinking=Effort.LOW))

    assert any(delta.thinking for delta in deltas)
    assert any(delta.text for delta in deltas)


async def test_a_real_ollama_makes_vectors(client: OllamaClient, engine: OllamaEngine):
    model = await loaded(engine, Capability.EMBED)
    before = await client.loaded(1, {})
    texts = ("The cat sleeps.", "A cat is asleep.", "Interest rates rose.")
    async with aclosing(engine.embed(model.name, EmbedRequest("m", texts))) as events:
        first, finished = [event async for event in events]
    after = await client.loaded(1, {})

    cat, same, other = first.vectors
    assert math.hypot(*cat) == pytest.approx(1.0)
    assert math.dist(cat, same) < math.dist(cat, other)
    assert finished.usage.prompt_tokens > 0
    assert after[model.name] == before[model.name], "a request made Ollama load the model anew"
    with pytest.raises(ContextTooLong):
        async with aclosing(
            engine.embed(model.name, EmbedRequest("m", ("word " * 2 * CONTEXT_TOKENS,)))
        ) as events:
            await anext(events)


async def test_a_real_library_knows_what_it_does_not_have(engine: OllamaEngine):
    with pytest.raises(UnknownModel):
        async with aclosing(engine.pull("hubspoke/there-is-no-such-model")) as steps:
            [step async for step in steps]


@pytest.mark.skipif(not os.environ.get(PULL_VARIABLE), reason=f"{PULL_VARIABLE} names no model to pull")
async def test_a_real_ollama_pulls(engine: OllamaEngine):
    name = os.environ[PULL_VARIABLE]
    async with asyncio.timeout(2 * LOAD_TIMEOUT_S), aclosing(engine.pull(name)) as steps:
        told = [step async for step in steps]

    assert told[-1].step == "success"
    assert any(step.total_bytes for step in told)
    assert (await described(engine, name.removesuffix(":latest"))).size_bytes > 0
