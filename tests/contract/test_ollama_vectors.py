"""Vectors that Ollama makes."""

import asyncio
import math
from contextlib import aclosing

import pytest

from hubspoke.errors import (
    ContextTooLong,
    EngineOutOfMemory,
    EngineOverloaded,
    EngineProtocol,
    EngineTruncated,
    InvalidRequest,
    MeshError,
    ModelNotLoaded,
    UnknownModel,
)
from hubspoke.types import Capability, Embeddings, EmbedRequest, Finished, FinishReason, ModelState, Vector
from spoke.engines.ollama.engine import OllamaEngine
from spoke.engines.vectors import BATCH_TEXTS
from tests.contract.bench import SOON_S, ask, chat, described
from tests.contract.conftest import PLAN, an_ollama_engine
from tests.fakes.ollama import Fault, Json, OllamaDouble, Refusal

CONTEXT_TOKENS = 512
EMBED = "POST /api/embed"
MORNING = EmbedRequest("m", ("good morning", "good evening"))


@pytest.fixture
async def engine(double: OllamaDouble):
    """Give an engine whose model makes vectors and nothing else."""
    double.capabilities["tiny"] = ("embedding",)
    adapter = an_ollama_engine(double.url)
    yield adapter
    double.fault = double.refusal = None
    await adapter.aclose()


@pytest.fixture
async def warm(engine: OllamaEngine) -> OllamaEngine:
    await engine.load("tiny", CONTEXT_TOKENS)
    return engine


async def vectors(engine: OllamaEngine, request: EmbedRequest) -> tuple[list[Vector], Finished]:
    """Read all vectors; check that they come in order and are of length 1."""
    made: list[Vector] = []
    async with asyncio.timeout(SOON_S), aclosing(engine.embed("tiny", request)) as events:
        async for event in events:
            if isinstance(event, Finished):
                assert await anext(events, None) is None
                return made, event
            assert isinstance(event, Embeddings)
            assert event.first == len(made)
            made += event.vectors
    raise AssertionError


def bodies(double: OllamaDouble) -> list[Json]:
    return [body for route, body in double.asked if route == EMBED]


async def test_texts_become_vectors(warm: OllamaEngine):
    made, finished = await vectors(warm, MORNING)

    assert [math.hypot(*vector) for vector in made] == pytest.approx([1.0, 1.0])
    assert made[0] != made[1]
    assert finished.reason is FinishReason.STOP
    assert (finished.usage.prompt_tokens > 0, finished.usage.output_tokens) == (True, 0)


async def test_a_model_that_only_makes_vectors_is_loaded_and_unloaded(
    double: OllamaDouble, warm: OllamaEngine
):
    model = await described(warm, "tiny")
    assert (model.state, model.capabilities) == (ModelState.LOADED, {Capability.EMBED})

    await warm.unload("tiny")

    assert (await described(warm, "tiny")).state is ModelState.COLD
    with pytest.raises(ModelNotLoaded):
        await vectors(warm, MORNING)


async def test_a_model_that_makes_vectors_and_speaks_is_loaded_once(
    double: OllamaDouble, engine: OllamaEngine
):
    double.capabilities["tiny"] = ("completion", "embedding")
    double.script = [{"content": "Hi."}]
    await engine.load("tiny", CONTEXT_TOKENS)

    await vectors(engine, MORNING)
    await ask(engine, "tiny", chat("hello"))
    await vectors(engine, MORNING)

    assert double.loads == [("tiny", CONTEXT_TOKENS)]


async def test_many_texts_are_given_some_at_a_time(double: OllamaDouble, warm: OllamaEngine):
    texts = tuple(f"text {number}" for number in range(2 * BATCH_TEXTS + 1))

    made, finished = await vectors(warm, EmbedRequest("m", texts))

    assert len(made) == len(texts)
    assert [len(body["input"]) for body in bodies(double)] == [0, BATCH_TEXTS, BATCH_TEXTS, 1]
    assert finished.usage.prompt_tokens == sum(len(text) for text in texts)


async def test_only_so_many_numbers_are_kept(warm: OllamaEngine):
    (whole, _), _ = await vectors(warm, MORNING)
    (cut, _), _ = await vectors(warm, EmbedRequest("m", MORNING.inputs, dimensions=4))

    length = math.hypot(*whole[:4])
    assert cut == pytest.approx([number / length for number in whole[:4]])


async def test_more_numbers_than_there_are_are_refused(warm: OllamaEngine):
    with pytest.raises(InvalidRequest, match="5000"):
        await vectors(warm, EmbedRequest("m", MORNING.inputs, dimensions=5000))


async def test_a_text_that_is_too_long_is_refused_and_not_cut(double: OllamaDouble, warm: OllamaEngine):
    with pytest.raises(ContextTooLong):
        await vectors(warm, EmbedRequest("m", ("short", "a" * 3000)))

    assert bodies(double)[-1]["truncate"] is False


async def test_requests_repeat_the_context_and_leave_the_rest_alone(double: OllamaDouble, warm: OllamaEngine):
    await vectors(warm, MORNING)

    load, request = bodies(double)
    assert (load["options"], load["keep_alive"]) == ({"num_ctx": CONTEXT_TOKENS}, -1)
    assert request["options"] == {"num_ctx": CONTEXT_TOKENS}
    assert "keep_alive" not in request
    assert double.loads == [("tiny", CONTEXT_TOKENS)]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda made: made[1:],
        lambda made: [made[0], made[1][1:]],
        lambda made: [[0.0] * len(vector) for vector in made],
        lambda made: [[math.inf, *vector[1:]] for vector in made],
        lambda _: [[], []],
        lambda _: "vectors",
    ],
    ids=["too few", "of two lengths", "without direction", "infinite", "empty", "no list"],
)
async def test_what_are_no_vectors_is_an_error(double: OllamaDouble, warm: OllamaEngine, spoil: object):
    double.spoil = spoil

    with pytest.raises(EngineProtocol):
        await vectors(warm, MORNING)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.TRUNCATE, EngineTruncated),
        (Fault.KILL, EngineTruncated),
        (Fault.GARBAGE, EngineProtocol),
        (Fault.NO_OBJECT, EngineProtocol),
    ],
)
async def test_vectors_that_do_not_arrive_say_why(
    double: OllamaDouble, warm: OllamaEngine, fault: Fault, kind: type[MeshError]
):
    double.fault, double.fault_routes = fault, frozenset({EMBED})

    with pytest.raises(kind):
        await vectors(warm, MORNING)

    double.fault = None
    assert len((await vectors(warm, MORNING))[0]) == 2


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (Refusal(500, "CUDA error: out of memory"), EngineOutOfMemory),
        (Refusal(404, 'model "tiny" not found, try pulling it first'), UnknownModel),
        (Refusal(400, "input length exceeds maximum context length"), ContextTooLong),
        (Refusal(400, "embedding contains NaN or Inf values"), EngineProtocol),
    ],
)
async def test_vectors_that_are_refused_say_why(
    double: OllamaDouble, warm: OllamaEngine, refusal: Refusal, kind: type[MeshError]
):
    double.refusal, double.refused_routes = refusal, frozenset({EMBED})

    with pytest.raises(kind):
        await vectors(warm, MORNING)


async def test_vectors_take_a_slot_as_long_as_they_are_made(double: OllamaDouble, warm: OllamaEngine):
    double.fault, double.fault_routes = Fault.HANG, frozenset({EMBED})
    running = [asyncio.create_task(vectors(warm, MORNING)) for _ in range(PLAN.slots)]
    while len(bodies(double)) < 1 + PLAN.slots:
        await warm.models()

    with pytest.raises(EngineOverloaded):
        await vectors(warm, MORNING)
    for task in running:
        task.cancel()
    await asyncio.wait(running)

    double.fault = None
    assert len((await vectors(warm, MORNING))[0]) == 2
