"""Models that Ollama gets by name."""

import asyncio
import re
from contextlib import aclosing

import pytest

from hubspoke.errors import (
    EngineOutOfMemory,
    EngineProtocol,
    EngineTimeout,
    EngineTruncated,
    EngineUnavailable,
    InvalidRequest,
    MeshError,
    UnknownModel,
    Unsupported,
)
from hubspoke.types import PullStep
from spoke.engines.ollama import http as ollama_http
from spoke.engines.ollama import pull as ollama_pull
from spoke.engines.ollama.detected import DetectedOllama
from spoke.engines.ollama.engine import OllamaEngine
from spoke.engines.ollama.server import OllamaServer
from tests.contract.bench import SOON_S, described
from tests.contract.conftest import an_ollama_engine
from tests.fakes.engine_server import Script, serve
from tests.fakes.ollama import Fault, OllamaDouble, Refusal

PULL = "POST /api/pull"
NDJSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"


@pytest.fixture
async def engine(double: OllamaDouble):
    """Give an engine whose Ollama has lost the model `tiny`."""
    double.hidden.add("tiny")
    adapter = an_ollama_engine(double.url)
    yield adapter
    double.refusal = None
    await adapter.aclose()


async def pulled(engine: OllamaEngine, model: str = "tiny") -> list[PullStep]:
    async with asyncio.timeout(SOON_S), aclosing(engine.pull(model)) as steps:
        return [step async for step in steps]


async def test_an_ollama_pulls(engine: OllamaEngine, double: OllamaDouble):
    detected = DetectedOllama(OllamaServer(double.url), lambda _: an_ollama_engine(double.url))
    found = await detected.probe()

    assert (await engine.probe()).pulls
    assert found is not None
    assert found.pulls
    assert (await pulled(detected))[-1].step == "success"
    await detected.aclose()


async def test_a_pull_tells_how_far_it_has_come_and_the_model_is_listed_then(engine: OllamaEngine):
    assert [model.name for model in await engine.models()] == ["nano"]

    steps = await pulled(engine)

    tiny = await described(engine, "tiny")
    of_weights = [step for step in steps if step.step == steps[1].step]
    assert (steps[0], steps[-1]) == (PullStep("pulling manifest"), PullStep("success"))
    assert {step.total_bytes for step in of_weights} == {tiny.size_bytes}
    completed = [step.completed_bytes for step in of_weights]
    assert completed == sorted(set(completed))
    assert completed[0] == 0
    assert re.fullmatch("pulling [0-9a-f]{12}", steps[1].step)
    assert {step.total_bytes for step in steps} > {tiny.size_bytes}, "no other layers"


async def test_a_pull_of_what_is_there_is_over_soon(engine: OllamaEngine):
    assert (await pulled(engine, "nano"))[-1] == PullStep("success")


async def test_hanging_up_stops_a_pull_and_the_next_one_goes_on_from_there(
    double: OllamaDouble, engine: OllamaEngine
):
    async with asyncio.timeout(SOON_S), aclosing(engine.pull("tiny")) as steps:
        async for step in steps:
            if step.completed_bytes:
                break

    again = await pulled(engine)

    assert next(step for step in again if step.total_bytes).completed_bytes >= step.completed_bytes


async def test_cancelling_who_reads_hangs_up(engine: OllamaEngine):
    script = Script([NDJSON, b'{"status": "pulling manifest"}\n'], hangs=True)
    async with asyncio.timeout(SOON_S), serve(script) as url:
        other = an_ollama_engine(url)
        steps = other.pull("tiny")
        assert await anext(steps) == PullStep("pulling manifest")
        reader = asyncio.create_task(anext(steps))
        await asyncio.sleep(0)
        reader.cancel()
        await asyncio.wait({reader})
        await script.hung_up.wait()
        await other.aclose()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("max retries exceeded: Get https://registry/v2: dial tcp: i/o timeout", EngineUnavailable),
        ("write /home/den/.ollama/blobs/sha256-12-partial: no space left on device", EngineOutOfMemory),
        ("digest mismatch, file must be downloaded again", EngineTruncated),
        ("pull model manifest: 412: requires a newer version of Ollama", Unsupported),
        ("something else", EngineTruncated),
    ],
)
async def test_a_pull_that_fails_in_the_middle_says_why(
    double: OllamaDouble, engine: OllamaEngine, said: str, kind: type[MeshError]
):
    double.fault, double.fault_said = Fault.ERROR, said

    with pytest.raises(kind) as failed:
        await pulled(engine)

    assert "den" not in failed.value.message
    assert [model.name for model in await engine.models()] == ["nano"]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.TRUNCATE, EngineTruncated),
        (Fault.KILL, EngineTruncated),
        (Fault.GARBAGE, EngineProtocol),
        (Fault.NO_OBJECT, EngineProtocol),
    ],
)
async def test_a_pull_that_breaks_off_says_so_and_can_go_on(
    double: OllamaDouble, engine: OllamaEngine, fault: Fault, kind: type[MeshError]
):
    double.fault = fault
    with pytest.raises(kind):
        await pulled(engine)

    double.fault = None
    assert (await pulled(engine))[-1] == PullStep("success")


async def test_a_model_that_nobody_has_is_unknown(engine: OllamaEngine):
    with pytest.raises(UnknownModel, match="library"):
        await pulled(engine, "no-such-model")


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (Refusal(400, "invalid model name"), InvalidRequest),
        (Refusal(502, "<html>Bad Gateway</html>"), EngineUnavailable),
    ],
)
async def test_a_pull_that_is_refused_says_why(
    double: OllamaDouble, engine: OllamaEngine, refusal: Refusal, kind: type[MeshError]
):
    double.refusal, double.refused_routes = refusal, frozenset({PULL})

    with pytest.raises(kind):
        await pulled(engine)


async def test_models_of_the_cloud_are_not_pulled(double: OllamaDouble, engine: OllamaEngine):
    with pytest.raises(Unsupported, match="cloud"):
        await pulled(engine, "gpt-oss:120b-cloud")

    assert PULL not in {route for route, _ in double.asked}


async def test_a_silent_pull_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ollama_http, "SILENCE_S", 0.05)
    script = Script([NDJSON, b'{"status": "pulling manifest"}\n'], hangs=True)
    async with serve(script) as url:
        engine = an_ollama_engine(url)
        with pytest.raises(EngineTimeout):
            await pulled(engine)
        await engine.aclose()


async def test_a_pull_that_says_the_same_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ollama_pull, "STALL_S", -1.0)
    stalled = b'{"status": "pulling 74701a8c35f6", "total": 9, "completed": 1}\n'
    script = Script([NDJSON, stalled, stalled], hangs=True)
    async with serve(script) as url:
        engine = an_ollama_engine(url)
        with pytest.raises(EngineTimeout, match="network"):
            await pulled(engine)
        async with asyncio.timeout(SOON_S):
            await script.hung_up.wait()
        await engine.aclose()
