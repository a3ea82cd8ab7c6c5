"""The engines that the contract holds for. Each one has a real model, whose right answers are known."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from hubspoke.clock import SystemClock
from hubspoke.types import Capability, LoadPlan
from spoke.engines import connection
from spoke.engines.llamacpp.build import Build
from spoke.engines.llamacpp.engine import EmbeddedEngine
from spoke.engines.llamacpp.launch import Ready, Serve
from spoke.engines.llamacpp.supervisor import Child, start
from spoke.engines.ollama.engine import OllamaEngine
from spoke.engines.ollama.http import OllamaClient
from spoke.engines.ollama.server import OllamaServer
from spoke.engines.openai.engine import OpenAiEngine
from spoke.engines.openai.http import Endpoint
from spoke.gpu.none import NoGpus
from spoke.models import store as model_store
from spoke.models.store import SHIPPED, ModelStore
from spoke.platform import Platform, here
from tests.contract.bench import EVERYTHING, LOOPBACK, SOON_S, Bench
from tests.fakes.ollama import OllamaDouble
from tests.fakes.ollama_server import an_ollama

PLAN = LoadPlan(slots=2, context_tokens=2048)
START_TIMEOUT_S = 20.0
CONFIGURED = EVERYTHING - {Capability.VISION, Capability.SAMPLING, Capability.THINKING}
"""What the settings say of the outside server; the rest it tells itself."""


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the shipped models to be read, and for servers of this process to be there, as long as it takes.

    A slow disk must not make models unknown, nor a machine that stands still an engine unavailable.
    """
    monkeypatch.setattr(model_store, "PATIENCE_S", SOON_S)
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT_S", SOON_S)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ModelStore]:
    models = ModelStore([SHIPPED, tmp_path], tmp_path / "catalogue.json", own=tmp_path)
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
    engine = an_embedded_engine(store, platform)
    yield engine
    await engine.aclose()


def an_embedded_engine(store: ModelStore, platform: Platform) -> EmbeddedEngine:
    return EmbeddedEngine(
        store, plan=PLAN, platform=platform, clock=SystemClock(), build=Build(SystemClock()), cards=NoGpus()
    )


def an_ollama_engine(url: str) -> OllamaEngine:
    return OllamaEngine(OllamaClient(OllamaServer(url)), plan=PLAN, gpus=NoGpus().probe)


# A llama-server of its own, for the engine that knows outside servers alone.


@asynccontextmanager
async def an_openai_server(store: ModelStore, name: str = "tiny") -> AsyncIterator[tuple[Child, Endpoint]]:
    (model,) = [stored for stored in await store.models() if stored.name == name]
    context_tokens = PLAN.slots * PLAN.context_tokens
    order = Serve(
        *(name, str(model.path), PLAN.slots, context_tokens),
        threads=1,
        api_key="sesame",
        makes_vectors=model.header.makes_vectors,
        projector="" if model.projector is None else str(model.projector),
    )
    child = await start(order, START_TIMEOUT_S)
    assert isinstance(child.reply, Ready)
    try:
        yield child, Endpoint(child.reply.url, "sesame")
    finally:
        await child.stop()


@pytest.fixture
async def double(store: ModelStore) -> AsyncIterator[OllamaDouble]:
    async with an_ollama(an_embedded_engine(store, here()), store, parallel=PLAN.slots) as made:
        yield made


# One bench for each engine.


@asynccontextmanager
async def over_a_unix_socket(store: ModelStore) -> AsyncIterator[Bench]:
    engine = an_embedded_engine(store, here())
    yield Bench(engine, engine)
    await engine.aclose()


@asynccontextmanager
async def over_loopback(store: ModelStore) -> AsyncIterator[Bench]:
    engine = an_embedded_engine(store, LOOPBACK)
    yield Bench(engine, engine)
    await engine.aclose()


@asynccontextmanager
async def with_ollama(store: ModelStore) -> AsyncIterator[Bench]:
    async with an_ollama(an_embedded_engine(store, here()), store, parallel=PLAN.slots) as double:
        engine, onlooker = an_ollama_engine(double.url), an_ollama_engine(double.url)
        able = EVERYTHING - {Capability.VISION, Capability.TOOL_CHOICE}
        yield Bench(engine, onlooker, tells_cached_tokens=False, tells_stops=False, capabilities=able)
        await engine.aclose()
        await onlooker.aclose()


@asynccontextmanager
async def with_openai(store: ModelStore) -> AsyncIterator[Bench]:
    async with an_openai_server(store) as (_, endpoint):
        engine = OpenAiEngine("vllm", endpoint, PLAN, CONFIGURED)
        yield Bench(engine, engine)
        await engine.aclose()


Maker = Callable[[ModelStore], AbstractAsyncContextManager[Bench]]

LOADERS: dict[str, Maker] = {"embedded": over_a_unix_socket, "loopback": over_loopback, "ollama": with_ollama}
"""The engines that bring models into memory themselves."""
if not here().has_unix_sockets:
    del LOADERS["embedded"]
ALL: dict[str, Maker] = {**LOADERS, "openai": with_openai}


@pytest.fixture(params=ALL)
async def bench(request: pytest.FixtureRequest, store: ModelStore) -> AsyncIterator[Bench]:
    async with ALL[request.param](store) as made:
        yield made


@pytest.fixture(params=LOADERS)
async def loader(request: pytest.FixtureRequest, store: ModelStore) -> AsyncIterator[Bench]:
    async with LOADERS[request.param](store) as made:
        yield made


@pytest.fixture
async def warm(bench: Bench) -> Bench:
    """Give a bench whose model is loaded."""
    await bench.engine.load(bench.model, bench.context_tokens)
    return bench


@pytest.fixture
async def warm_loader(loader: Bench) -> Bench:
    """Give a bench whose model is loaded, and could be unloaded."""
    await loader.engine.load(loader.model, loader.context_tokens)
    return loader
