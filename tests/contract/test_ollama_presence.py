"""An Ollama that comes and goes, and what else may listen at its address."""

import asyncio

import pytest

from hubspoke.errors import EngineProtocol, EngineTruncated, EngineUnavailable, ModelNotLoaded, UnknownModel
from hubspoke.types import EngineInfo, HostMemory, LoadPlan
from spoke.agent import outside_engines
from spoke.config import SpokeConfig
from spoke.engines.ollama import http as ollama_http
from spoke.engines.ollama import server as ollama_server
from spoke.engines.ollama.detected import DetectedOllama
from spoke.engines.ollama.engine import OllamaEngine
from spoke.engines.ollama.server import OllamaServer
from spoke.gpu.none import NoGpus
from spoke.link.machine import Machine
from spoke.models.store import ModelStore
from spoke.platform import here
from tests.contract.bench import LONG, REVERSE, SOON_S, ask, begun, chat, collected, described
from tests.contract.conftest import an_embedded_engine, an_ollama_engine
from tests.fakes.engine_server import Script, serve
from tests.fakes.ollama import Fault, OllamaDouble, Refusal
from tests.fakes.ollama_server import an_ollama
from tests.fakes.ports import free_ports

CONTEXT_TOKENS = 2048


@pytest.fixture
async def engine(double: OllamaDouble):
    adapter = an_ollama_engine(double.url)
    yield adapter
    double.refusal, double.headers = None, {}
    await adapter.aclose()


def detected(url: str) -> DetectedOllama:
    """Look for an Ollama that nobody has spoken of."""
    return DetectedOllama(OllamaServer(url), lambda _: an_ollama_engine(url))


def a_port() -> int:
    """Give a port that nobody else listens on once the Ollama there is gone."""
    (port,) = free_ports(1)
    return port


async def test_an_ollama_is_there_from_when_it_first_answers_and_missed_afterwards(store: ModelStore):
    async with an_ollama(an_embedded_engine(store, here()), store, port=a_port()) as double:
        port = int(double.url.rpartition(":")[2])
    engine = detected(double.url)

    before = await engine.probe()
    with pytest.raises(ModelNotLoaded):
        await ask(engine, "tiny", chat("hello"))
    with pytest.raises(UnknownModel):
        await engine.load("tiny", CONTEXT_TOKENS)
    async with an_ollama(an_embedded_engine(store, here()), store, port=port):
        there = await engine.probe()
        await engine.load("tiny", CONTEXT_TOKENS)
        text, _ = await ask(engine, "tiny", chat(REVERSE[0]))
        await engine.unload("tiny")
    gone = await engine.probe()

    assert before is None
    assert there == EngineInfo("ollama", version="0.33.0", pulls=True)
    assert text == REVERSE[1]
    assert gone is not None
    assert "running" in gone.fault
    assert await engine.models() == ()
    await engine.aclose()


async def test_an_agent_finds_the_ollama_that_its_environment_names(
    double: OllamaDouble, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OLLAMA_HOST", double.url)
    (engine,) = outside_engines(SpokeConfig(ollama_slots=3, context_tokens=512), NoGpus())

    assert await engine.probe() == EngineInfo("ollama", version="0.33.0", pulls=True)
    assert (await described(engine, "tiny")).plan == LoadPlan(3, 512)
    await engine.aclose()


async def test_an_ollama_that_was_spoken_of_is_missed_from_the_start(store: ModelStore):
    async with an_ollama(an_embedded_engine(store, here()), store, port=a_port()) as double:
        pass
    engine = an_ollama_engine(double.url)

    assert "running" in (await engine.probe()).fault
    assert await engine.models() == ()
    await engine.aclose()


async def test_a_machine_without_ollama_has_no_such_engine(store: ModelStore):
    async with an_ollama(an_embedded_engine(store, here()), store, port=a_port()) as double:
        pass
    engine = detected(double.url)
    machine = Machine([engine], NoGpus(), lambda: HostMemory(1 << 34, 1 << 33))
    async with asyncio.timeout(SOON_S), asyncio.TaskGroup() as group:
        watching = group.create_task(machine.watch())
        await machine.looked.wait()
        watching.cancel()

    assert machine.inventory.engines == ()
    await engine.aclose()


async def test_an_ollama_that_goes_in_the_middle_of_an_answer_breaks_it_off(store: ModelStore):
    async with an_ollama(an_embedded_engine(store, here()), store, port=a_port()) as double:
        engine = an_ollama_engine(double.url)
        await engine.load("tiny", CONTEXT_TOKENS)
        double.fault = Fault.HANG
        answer = await begun(engine, "tiny", chat(LONG[0]))

    with pytest.raises(EngineTruncated):
        await collected(answer)
    with pytest.raises(EngineUnavailable):
        await ask(engine, "tiny", chat("hello"))
    await engine.aclose()


async def test_the_gateway_of_a_mesh_is_no_ollama(double: OllamaDouble):
    double.headers["X-Hubspoke-Mesh"] = "home"
    told, found = an_ollama_engine(double.url), detected(double.url)

    for engine in (told, found):
        info = await engine.probe()
        assert info is not None
        assert "mesh must not ask itself" in info.fault
    with pytest.raises(EngineProtocol, match="mesh"):
        await told.models()
    await told.aclose()
    await found.aclose()


async def test_what_is_no_ollama_is_a_fault(double: OllamaDouble, engine: OllamaEngine):
    double.refusal = Refusal(404, "<html>not here</html>")

    assert "no Ollama (HTTP 404)" in (await engine.probe()).fault


async def test_an_ollama_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ollama_http, "LOOK_TIMEOUT_S", 0.05)
    monkeypatch.setattr(ollama_server, "LOOK_TIMEOUT_S", 0.05)
    async with serve(Script([], hangs=True)) as url:
        engine = an_ollama_engine(url)

        assert "has not answered" in (await engine.probe()).fault
        assert await engine.models() == ()
        assert await detected(url).probe() is None
        await engine.aclose()


async def test_of_an_endless_line_only_so_much_is_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ollama_server, "LINE_BYTES_MAX", 1000)
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 5000
    async with serve(Script([endless])) as url:
        server = OllamaServer(url)
        with pytest.raises(EngineProtocol, match="1000 bytes"):
            await server.version()
        await server.aclose()


async def test_what_is_nested_without_end_is_no_answer():
    body = b'{"models": ' + b"[" * 5000
    nested = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    async with serve(Script([nested])) as url:
        engine = an_ollama_engine(url)
        assert "no Ollama" in (await engine.probe()).fault
        with pytest.raises(EngineProtocol):
            await engine.models()
        await engine.aclose()
