"""What only the Ollama engine has: a server that others use too, that comes and goes, and that hides its failures."""

import asyncio
from contextlib import aclosing

import httpx
import pytest

from hubspoke.errors import (
    EngineCrashed,
    EngineOutOfMemory,
    EngineOverloaded,
    EngineProtocol,
    EngineTimeout,
    EngineTruncated,
    EngineUnavailable,
    LoadFailed,
    MeshError,
    ModelNotLoaded,
    UnknownModel,
)
from hubspoke.types import (
    Capability,
    EngineInfo,
    Gpu,
    GpuKind,
    ModelState,
    Request,
    Sampling,
)
from spoke.engines.ollama.engine import OllamaEngine
from spoke.engines.ollama.http import OllamaClient
from spoke.engines.ollama.server import OllamaServer
from tests.contract.bench import GREEDY, LONG, REVERSE, SOON_S, ask, begun, chat, described
from tests.contract.conftest import PLAN, an_ollama_engine
from tests.fakes.ollama import Fault, OllamaDouble, Refusal

CONTEXT_TOKENS = 2048
CLOUD = {
    "model": "gpt-oss:120b-cloud",
    "name": "gpt-oss:120b-cloud",
    "digest": "c" * 64,
    "size": 384,
    "details": {},
}


@pytest.fixture
async def engine(double: OllamaDouble):
    """Give an engine whose model `tiny` makes no vectors, so that it is loaded as most are."""
    double.capabilities["tiny"] = ("completion",)
    adapter = an_ollama_engine(double.url)
    yield adapter
    double.refusal, double.headers = None, {}
    await adapter.aclose()


async def somebody_loads(double: OllamaDouble, model: str, context_tokens: int) -> None:
    """Load a model as another program would."""
    async with httpx.AsyncClient(trust_env=False) as client:
        body = {"model": model, "messages": [], "options": {"num_ctx": context_tokens}}
        assert (await client.post(f"{double.url}/api/chat", json=body, timeout=SOON_S)).status_code == 200


async def is_idle(double: OllamaDouble) -> None:
    async with asyncio.timeout(SOON_S):
        await double.idle.wait()


def bodies(double: OllamaDouble, route: str) -> list[dict[str, object]]:
    return [body for asked, body in double.asked if asked == route]


# Answers that go wrong.


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.TRUNCATE, EngineTruncated),
        (Fault.KILL, EngineTruncated),
        (Fault.GARBAGE, EngineProtocol),
        (Fault.NO_OBJECT, EngineProtocol),
        (Fault.ERROR, EngineCrashed),
    ],
)
async def test_an_answer_that_goes_wrong_says_how_and_the_next_one_is_right(
    double: OllamaDouble, engine: OllamaEngine, fault: Fault, kind: type[MeshError]
):
    await engine.load("tiny", CONTEXT_TOKENS)
    double.fault = fault
    with pytest.raises(MeshError) as failed:
        await ask(engine, "tiny", chat(LONG[0]))
    await is_idle(double)
    double.fault = None

    assert type(failed.value) is kind
    assert (await ask(engine, "tiny", chat(REVERSE[0])))[0] == REVERSE[1]


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (Refusal(503, "server busy, please try again.  maximum pending requests exceeded"), EngineOverloaded),
        (
            Refusal(500, "model requires more system memory (7.9 GiB) than is available (1.0 GiB)"),
            EngineOutOfMemory,
        ),
        (Refusal(500, "llama runner process has terminated: exit status 2"), EngineCrashed),
        (Refusal(500, "unknown model architecture: 'odd' in /home/den/models"), LoadFailed),
        (Refusal(502, "<html>Bad Gateway</html>"), EngineUnavailable),
    ],
)
async def test_a_load_that_is_refused_says_why(
    double: OllamaDouble, engine: OllamaEngine, refusal: Refusal, kind: type[MeshError]
):
    double.refused_routes = frozenset({"POST /api/chat"})
    double.refusal = refusal

    with pytest.raises(kind) as failed:
        await engine.load("tiny", CONTEXT_TOKENS)

    assert "den" not in failed.value.message
    assert (await described(engine, "tiny")).state is ModelState.COLD


async def test_one_look_that_fails_costs_no_load(double: OllamaDouble, engine: OllamaEngine):
    await engine.load("tiny", CONTEXT_TOKENS)
    double.refused_routes = frozenset({"GET /api/tags"})
    double.refusal = Refusal(504, "slow disk")
    assert await engine.models() == ()
    double.refusal = None

    assert (await described(engine, "tiny")).state is ModelState.LOADED
    assert (await ask(engine, "tiny", chat(REVERSE[0])))[0] == REVERSE[1]
    assert len(double.loads) == 1


async def test_a_load_says_that_ollama_is_slow_and_not_that_the_model_is_unknown(
    double: OllamaDouble, engine: OllamaEngine
):
    double.refused_routes = frozenset({"GET /api/tags"})
    double.refusal = Refusal(504, "slow disk")

    with pytest.raises(EngineTimeout):
        await engine.load("tiny", CONTEXT_TOKENS)


async def test_nothing_is_asked_of_a_model_that_is_on_its_way_out(double: OllamaDouble, engine: OllamaEngine):
    await engine.load("tiny", CONTEXT_TOKENS)
    async with asyncio.timeout(SOON_S), double.turn:  # so that it takes its time
        unloading = asyncio.create_task(engine.unload("tiny"))
        await asyncio.sleep(0)
        with pytest.raises(ModelNotLoaded):
            await ask(engine, "tiny", chat("hello"))
    await unloading

    assert double.runners == {}
    assert len(double.loads) == 1


async def test_a_model_that_was_deleted_underneath_is_unknown(double: OllamaDouble, engine: OllamaEngine):
    await engine.load("tiny", CONTEXT_TOKENS)
    double.hidden.add("tiny")

    with pytest.raises(UnknownModel):
        await ask(engine, "tiny", chat("hello"))

    assert [model.name for model in await engine.models()] == ["nano"]


async def test_hanging_up_in_the_middle_stops_the_gpu(double: OllamaDouble, engine: OllamaEngine):
    await engine.load("tiny", CONTEXT_TOKENS)
    double.fault = Fault.HANG
    answer = await begun(engine, "tiny", chat(LONG[0]))
    assert double.answering == 1

    await answer.aclose()

    await is_idle(double)


async def test_hanging_up_before_the_first_token_stops_the_gpu(double: OllamaDouble, engine: OllamaEngine):
    await engine.load("tiny", CONTEXT_TOKENS)
    for number in range(2 * PLAN.slots):
        async with aclosing(engine.generate("tiny", chat(f"{number}" + "a" * 1900))) as answer:
            waiting = asyncio.create_task(anext(answer))
            async with asyncio.timeout(SOON_S):
                await double.working.wait()
            waiting.cancel()
            await asyncio.wait({waiting})
        await is_idle(double)


# Options.


async def test_no_request_makes_ollama_load_a_model_anew(double: OllamaDouble, engine: OllamaEngine):
    await engine.load("tiny", 1000)
    await ask(engine, "tiny", chat("hello"))
    await ask(
        engine, "tiny", chat("hello", sampling=Sampling(temperature=1.0, min_p=0.1, seed=-1), stop=("x",))
    )
    await ask(engine, "tiny", Request("m", prompt="<|user|>hello<|end|><|assistant|>", sampling=GREEDY))

    assert double.loads == [("tiny", 1024)]
    asked = bodies(double, "POST /api/chat") + bodies(double, "POST /api/generate")
    assert [body["options"]["num_ctx"] for body in asked] == [1024] * 4
    assert [(body["truncate"], body["shift"]) for body in asked] == [(False, False)] * 4
    assert asked[0]["keep_alive"] == -1


async def test_what_others_have_loaded_is_used_as_it_is(double: OllamaDouble, engine: OllamaEngine):
    await somebody_loads(double, "tiny", 512)

    model = await described(engine, "tiny")
    text, _ = await ask(engine, "tiny", chat(REVERSE[0]))

    assert (model.loaded.context_tokens, text) == (512, REVERSE[1])
    assert double.loads == [("tiny", 512)]
    assert "shift" not in bodies(double, "POST /api/chat")[-1]


async def test_what_others_load_anew_is_not_ours_any_more(double: OllamaDouble, engine: OllamaEngine):
    await engine.load("tiny", CONTEXT_TOKENS)
    await somebody_loads(double, "tiny", 512)

    assert (await described(engine, "tiny")).loaded.context_tokens == 512
    await ask(engine, "tiny", chat("hello"))
    await engine.aclose()

    assert double.loads == [("tiny", 2048), ("tiny", 512)]
    assert "tiny" in double.runners


async def test_closing_leaves_what_others_have_loaded(double: OllamaDouble, engine: OllamaEngine):
    await somebody_loads(double, "nano", 512)
    await engine.load("tiny", CONTEXT_TOKENS)

    await engine.aclose()

    assert set(double.runners) == {"nano"}


# What it has.


async def test_models_are_called_what_people_call_them(engine: OllamaEngine):
    assert sorted(model.name for model in await engine.models()) == ["nano", "tiny"]


async def test_the_figures_are_those_of_the_header(engine: OllamaEngine):
    tiny = await described(engine, "tiny")

    assert (tiny.kv_bytes_per_token, tiny.parameters) == (4 * 4 * (32 + 32) * 2, 837_376)


async def test_a_model_is_looked_into_once(double: OllamaDouble, engine: OllamaEngine):
    await engine.models()
    await engine.models()

    assert len(bodies(double, "POST /api/show")) == 2


async def test_a_model_that_ollama_cannot_describe_costs_no_other_one(
    double: OllamaDouble, engine: OllamaEngine
):
    double.broken.add("nano")

    assert [model.name for model in await engine.models()] == ["tiny"]


async def test_another_ollama_may_make_more_of_the_same_model(double: OllamaDouble, engine: OllamaEngine):
    await engine.probe()
    assert Capability.TOOLS not in (await described(engine, "nano")).capabilities

    double.version, double.capabilities["nano"] = "0.34.0", ("completion", "tools")
    await engine.probe()

    assert Capability.TOOLS in (await described(engine, "nano")).capabilities


async def test_a_model_says_how_much_of_it_is_on_cards(double: OllamaDouble, engine: OllamaEngine):
    double.on_cards = 0.25
    loaded = await engine.load("tiny", CONTEXT_TOKENS)

    assert loaded.vram_bytes == loaded.memory_bytes // 4


async def test_models_of_the_cloud_are_not_offered(double: OllamaDouble, engine: OllamaEngine):
    double.extra.append(CLOUD)

    assert "gpt-oss:120b-cloud" not in {model.name for model in await engine.models()}


async def test_it_computes_on_the_cards_that_are_healthy(double: OllamaDouble):
    async def cards() -> tuple[Gpu, ...]:
        return tuple(
            Gpu(index, GpuKind.CUDA, "RTX 3060", fault=fault)
            for index, fault in ((0, ""), (1, "lost"), (2, ""))
        )

    engine = OllamaEngine(OllamaClient(OllamaServer(double.url)), plan=PLAN, gpus=cards)

    assert await engine.probe() == EngineInfo("ollama", version="0.33.0", gpus=(0, 2), pulls=True)
    await engine.aclose()
