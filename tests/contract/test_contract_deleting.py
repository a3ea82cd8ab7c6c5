"""What every engine adapter promises of deleting a model, checked on real files."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hubspoke.errors import Busy, MeshError, ModelNotLoaded, UnknownModel, Unsupported
from hubspoke.types import ModelState
from spoke.engines.ollama.detected import DetectedOllama
from spoke.engines.ollama.server import OllamaServer
from spoke.models.store import ModelStore
from tests.contract.bench import LONG, Bench, ask, begun, chat, children, collected, described, renamed
from tests.contract.conftest import ALL, LOADERS, an_ollama_engine
from tests.fakes.ollama import OllamaDouble, Refusal

REFUSAL = Refusal(500, "remove /home/den/.ollama/models: permission denied")


@pytest.fixture(params=LOADERS)
async def owner(request: pytest.FixtureRequest, store: ModelStore, tmp_path: Path) -> AsyncIterator[Bench]:
    """Give an engine that may delete its model, which is in memory."""
    async with LOADERS[request.param](store) as made:
        bench = made
        if request.param != "ollama":  # to which its whole library belongs
            (tmp_path / "mine.gguf").write_bytes(renamed("tiny", "mine"))
            bench = replace(made, model="mine")
        await bench.engine.load(bench.model, bench.context_tokens)
        yield bench


@pytest.fixture(params=[name for name in ALL if name != "ollama"])
async def keeper(request: pytest.FixtureRequest, store: ModelStore) -> AsyncIterator[Bench]:
    """Give an engine whose model is not the spoke's to delete."""
    async with ALL[request.param](store) as made:
        await made.engine.load(made.model, made.context_tokens)
        yield made


async def names(bench: Bench) -> list[str]:
    return [model.name for model in await bench.engine.models()]


async def test_a_deleted_model_has_left_memory_and_the_list(owner: Bench):
    await owner.engine.delete(owner.model)

    assert owner.model not in await names(owner)
    assert children() == []
    with pytest.raises(ModelNotLoaded):
        await ask(owner.engine, owner.model, chat("hello"))
    with pytest.raises(UnknownModel):
        await owner.engine.load(owner.model, owner.context_tokens)


async def test_a_model_that_answers_is_not_deleted(owner: Bench):
    answer = await begun(owner.engine, owner.model, chat(LONG[0]))

    with pytest.raises(Busy):
        await owner.engine.delete(owner.model)

    assert (await collected(answer))[0] == LONG[1][1:]
    assert (await described(owner.engine, owner.model)).state is ModelState.LOADED


async def test_a_model_that_is_not_there_cannot_be_deleted(bench: Bench):
    with pytest.raises(UnknownModel):
        await bench.engine.delete("no-such-model")


async def test_what_is_not_the_spokes_to_delete_stays_as_it_is(keeper: Bench):
    with pytest.raises(Unsupported):
        await keeper.engine.delete(keeper.model)

    assert (await described(keeper.engine, keeper.model)).state is ModelState.LOADED


async def test_an_ollama_that_was_found_deletes_and_one_that_was_not_has_nothing(double: OllamaDouble):
    detected = DetectedOllama(OllamaServer(double.url), lambda _: an_ollama_engine(double.url))
    with pytest.raises(UnknownModel):
        await detected.delete("tiny")
    await detected.probe()

    await detected.delete("tiny")

    assert [model.name for model in await detected.models()] == ["nano"]
    await detected.aclose()


async def test_a_delete_that_ollama_refuses_is_an_error_of_the_mesh(double: OllamaDouble):
    engine = an_ollama_engine(double.url)
    double.refusal, double.refused_routes = REFUSAL, frozenset({"DELETE /api/delete"})

    with pytest.raises(MeshError) as refused:
        await engine.delete("tiny")

    assert "/home" not in refused.value.message
    double.refusal = None
    await engine.aclose()
