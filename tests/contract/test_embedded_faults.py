"""What goes wrong in the middle of calls, formats and vectors, as the embedded engine meets it."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from hubspoke.errors import EngineCrashed, EngineUnavailable, LoadFailed, MeshError, SpokeError
from hubspoke.types import (
    Calling,
    Capability,
    EmbedRequest,
    ModelState,
    Request,
    Tool,
    ToolChoice,
)
from spoke.engines.llamacpp.engine import EmbeddedEngine
from spoke.models.store import ModelStore
from spoke.platform import here
from tests.contract.bench import (
    REVERSE,
    SOON_S,
    ask,
    begun,
    chat,
    children,
    described,
    embedded,
    going_on,
    renamed,
    whole,
)
from tests.contract.conftest import PLAN, an_embedded_engine
from tests.fakes.gguf import header

ATTEMPTS = 50
TEXTS = tuple(f"text {number}" * 20 for number in range(100))
MANY = '{"type":"array","items":{"type":"integer"},"minItems":500}'
SUM = Tool("sum", parameters=f'{{"type":"object","properties":{{"of":{MANY}}},"required":["of"]}}')
LONG_REQUESTS = [
    chat("hello", tools=(SUM,), tool_choice=ToolChoice(Calling.REQUIRED)),
    going_on(),
]
"""They take long enough to be killed in."""


@pytest.fixture
async def tiny(store: ModelStore) -> AsyncIterator[EmbeddedEngine]:
    """Give an engine that has loaded a model which does everything but see."""
    engine = an_embedded_engine(store, here())
    await engine.load("tiny", PLAN.context_tokens)
    yield engine
    await engine.aclose()


def only_child() -> psutil.Process:
    (child,) = children()
    return child


async def works_again(engine: EmbeddedEngine) -> None:
    assert (await described(engine, "tiny")).state is ModelState.COLD
    await engine.load("tiny", PLAN.context_tokens)
    assert (await ask(engine, "tiny", chat(REVERSE[0])))[0] == REVERSE[1]


async def test_a_child_that_is_killed_while_it_makes_vectors_is_a_crash(tiny: EmbeddedEngine):
    async with asyncio.timeout(SOON_S), aclosing(tiny.embed("tiny", EmbedRequest("m", TEXTS))) as events:
        await anext(events)
        only_child().kill()
        with pytest.raises(EngineCrashed):
            async for _ in events:
                pass

    await works_again(tiny)


@pytest.mark.parametrize("long", LONG_REQUESTS, ids=["calls", "format"])
async def test_a_child_that_is_killed_in_a_call_or_a_format_is_a_crash(tiny: EmbeddedEngine, long: Request):
    answer = await begun(tiny, "tiny", long)
    only_child().kill()

    with pytest.raises(EngineCrashed):
        await whole(answer)

    await works_again(tiny)


async def test_vectors_under_way_when_the_engine_stops_are_no_crash(tiny: EmbeddedEngine):
    events = tiny.embed("tiny", EmbedRequest("m", TEXTS))
    await anext(events)

    await tiny.aclose()

    with pytest.raises(EngineUnavailable):
        async for _ in events:
            pass


async def test_a_child_that_hangs_while_it_makes_vectors_holds_nobody_up_who_leaves(tiny: EmbeddedEngine):
    only_child().suspend()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await embedded(tiny, "tiny", "hello")
    only_child().resume()

    await embedded(tiny, "tiny", "hello")


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process that runs")
async def test_memory_that_runs_out_costs_an_answer_and_not_the_agent(tiny: EmbeddedEngine):
    child = only_child()
    child.rlimit(psutil.RLIMIT_AS, (child.memory_info().vms, child.memory_info().vms))

    async def use_it_up() -> None:
        for number in range(ATTEMPTS):
            await ask(tiny, "tiny", chat(f"{number} " + "a" * 1500, max_output_tokens=1))

    with pytest.raises(SpokeError):
        await use_it_up()

    if child.is_running():
        await tiny.unload("tiny")
    await works_again(tiny)


async def test_a_file_that_goes_between_the_look_and_the_load_is_refused_without_naming_it(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "mine.gguf"
    path.write_bytes(renamed("tiny", "mine"))
    listed = await store.models()
    path.unlink()

    async def as_before() -> object:
        return listed

    monkeypatch.setattr(store, "models", as_before)
    engine = an_embedded_engine(store, here())
    with pytest.raises(LoadFailed) as refused:
        await engine.load("mine", PLAN.context_tokens)
    await engine.aclose()

    assert str(tmp_path) not in refused.value.message


async def test_a_projector_that_is_none_is_a_load_that_failed(store: ModelStore, tmp_path: Path):
    (tmp_path / "mine.gguf").write_bytes(renamed("tiny", "mine"))
    (tmp_path / "mine.mmproj.gguf").write_bytes(header({"general.architecture": "clip"}))
    engine = an_embedded_engine(store, here())

    assert Capability.VISION in (await described(engine, "mine")).capabilities
    with pytest.raises(MeshError) as refused:
        await engine.load("mine", PLAN.context_tokens)
    await engine.aclose()

    assert isinstance(refused.value, LoadFailed | EngineCrashed)
    assert str(tmp_path) not in refused.value.message
