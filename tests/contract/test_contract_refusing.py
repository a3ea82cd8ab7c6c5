"""What engine adapters do about requests that a model cannot meet. The hub does not send them; a list may be outdated."""

from collections.abc import AsyncIterator

import pytest

from hubspoke.errors import InvalidOutput, Unsupported
from hubspoke.types import Calling, Capability, Effort, Image, Message, Request, Speaker, Tool, ToolChoice
from spoke.engines.ollama.detected import NAME as OLLAMA
from spoke.engines.openai.engine import OpenAiEngine
from spoke.models.store import ModelStore
from spoke.platform import here
from tests.contract.bench import GREEDY, Bench, answered, ask, chat, described, embedded
from tests.contract.conftest import PLAN, an_embedded_engine, an_ollama_engine, an_openai_server
from tests.fakes.images import png
from tests.fakes.ollama_server import an_ollama

HELLO = "hello", "Hello! I am a nano model."
GENERATES = frozenset({Capability.CHAT, Capability.COMPLETION, Capability.JSON_SCHEMA, Capability.SAMPLING})


@pytest.fixture(params=["embedded", "ollama", "openai"])
async def plain(request: pytest.FixtureRequest, store: ModelStore) -> AsyncIterator[Bench]:
    """Give a bench whose model is loaded, chats, and does nothing else."""
    if request.param == "embedded":
        engine = an_embedded_engine(store, here())
        await engine.load("nano", PLAN.context_tokens)
        yield Bench(engine, engine, "nano", capabilities=GENERATES)
        await engine.aclose()
    elif request.param == "ollama":
        async with an_ollama(an_embedded_engine(store, here()), store, parallel=PLAN.slots) as double:
            local = an_ollama_engine(double.url)
            await local.load("nano", PLAN.context_tokens)
            yield Bench(local, local, "nano", capabilities=GENERATES)
            await local.aclose()
    else:
        async with an_openai_server(store, "nano") as (_, endpoint):
            outside = OpenAiEngine("vllm", endpoint, PLAN, GENERATES | {Capability.TOOLS})
            yield Bench(outside, outside, "nano", capabilities=GENERATES)
            await outside.aclose()


async def test_a_plain_model_is_listed_as_one(plain: Bench):
    assert (await described(plain.engine, plain.model)).capabilities == plain.capabilities


async def test_a_model_that_knows_no_tools_is_not_believed_to_have_called_one(plain: Bench):
    if plain.engine.name == OLLAMA:
        pytest.skip("the hub never asks Ollama to make a model call tools")
    wanted = ToolChoice(Calling.REQUIRED)

    for _ in range(2 * plain.slots):
        with pytest.raises(InvalidOutput):
            await answered(
                plain.engine, plain.model, chat(HELLO[0], tools=(Tool("clock"),), tool_choice=wanted)
            )

    assert (await ask(plain.engine, plain.model, chat(HELLO[0])))[0] == HELLO[1]


async def test_a_model_that_makes_no_vectors_says_so(plain: Bench):
    for _ in range(2 * plain.slots):
        with pytest.raises(Unsupported):
            await embedded(plain.engine, plain.model, "hello")

    assert (await ask(plain.engine, plain.model, chat(HELLO[0])))[0] == HELLO[1]


async def test_a_model_that_sees_nothing_says_so(plain: Bench):
    turn = Message(Speaker.USER, "hello", images=(Image(png(8, 8)),))

    for _ in range(2 * plain.slots):
        with pytest.raises(Unsupported):
            await ask(plain.engine, plain.model, Request("m", messages=(turn,), sampling=GREEDY))

    assert (await ask(plain.engine, plain.model, chat(HELLO[0])))[0] == HELLO[1]


@pytest.mark.parametrize("effort", [Effort.NONE, Effort.HIGH])
async def test_a_model_that_does_not_think_answers_all_the_same(plain: Bench, effort: Effort):
    if effort is Effort.HIGH and plain.engine.name == "ollama":
        pytest.skip("Ollama refuses to let it think, which its own tests hold")
    assert (await ask(plain.engine, plain.model, chat(HELLO[0], thinking=effort)))[0] == HELLO[1]
