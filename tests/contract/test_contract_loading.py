"""What every engine adapter promises of its models and of loading them, checked on a real engine with a real model."""

import asyncio
import re
from contextlib import aclosing

import pytest

from hubspoke.errors import Busy, ContextTooLong, ModelNotLoaded, UnknownModel
from hubspoke.types import ModelState
from tests.contract.bench import (
    LONG,
    REVERSE,
    SOON_S,
    Bench,
    ask,
    begun,
    chat,
    described,
    frozen_load,
    still,
    thaw,
)

# Finding out.


async def test_an_engine_that_works_says_so(bench: Bench):
    info = await bench.engine.probe()

    assert info is not None
    assert (info.name, info.fault) == (bench.engine.name, "")


async def test_models_are_listed_with_what_a_request_needs(bench: Bench):
    model = await described(bench.engine, bench.model)

    assert model.engine == bench.engine.name
    assert model.capabilities == bench.capabilities
    assert (model.plan.slots, model.plan.context_tokens) == (bench.slots, bench.context_tokens)
    assert model.context_tokens_max == bench.context_tokens
    assert (model.state is ModelState.LOADED) is (model.loaded is not None)


async def test_models_are_listed_with_what_the_hub_needs_to_place_them(loader: Bench):
    model = await described(loader.engine, loader.model)

    info = await loader.engine.probe()
    assert info is not None
    assert info.version
    assert re.fullmatch("sha256:[0-9a-f]{64}", model.digest)
    assert min(model.size_bytes, model.parameters, model.kv_bytes_per_token) > 0
    assert (model.family, model.quantisation, model.context_tokens_max) == ("llama", "Q8_0", 2048)
    assert (model.state, model.loaded) == (ModelState.COLD, None)


# Loading.


async def test_a_loaded_model_says_what_it_takes_up(loader: Bench):
    loaded = await loader.engine.load(loader.model, loader.context_tokens)
    model = await described(loader.engine, loader.model)

    assert (loaded.slots, loaded.context_tokens) == (loader.slots, loader.context_tokens)
    assert loaded.memory_bytes > model.size_bytes
    assert (model.state, still(model.loaded)) == (ModelState.LOADED, still(loaded))


async def test_a_model_on_its_way_into_memory_is_loading(loader: Bench):
    async with asyncio.timeout(SOON_S), asyncio.TaskGroup() as group:
        load = group.create_task(loader.engine.load(loader.model, loader.context_tokens))
        frozen = await frozen_load(loader)
        assert (await described(loader.engine, loader.model)).state is ModelState.LOADING
        with pytest.raises(Busy):
            await loader.engine.unload(loader.model)
        thaw(frozen)
        await load


async def test_a_model_that_is_there_already_is_there_at_once(warm: Bench):
    before = await described(warm.engine, warm.model)

    assert still(await warm.engine.load(warm.model, warm.context_tokens)) == still(before.loaded)


async def test_callers_that_overlap_share_one_load(loader: Bench):
    async with asyncio.timeout(SOON_S):
        first, second, third = await asyncio.gather(
            *(loader.engine.load(loader.model, loader.context_tokens) for _ in range(3))
        )

    assert first is second is third


async def test_a_caller_that_leaves_a_load_does_not_end_it_for_the_others(loader: Bench):
    leaver = asyncio.create_task(loader.engine.load(loader.model, loader.context_tokens))
    stayer = asyncio.create_task(loader.engine.load(loader.model, loader.context_tokens))
    frozen = await frozen_load(loader)

    leaver.cancel()
    thaw(frozen)

    async with asyncio.timeout(SOON_S):
        assert (await stayer).slots == loader.slots
    assert leaver.cancelled()


async def test_a_load_that_nobody_waits_for_any_more_leaves_nothing_behind(loader: Bench):
    only = asyncio.create_task(loader.engine.load(loader.model, loader.context_tokens))
    frozen = await frozen_load(loader)

    only.cancel()
    await asyncio.wait({only}, timeout=SOON_S)
    thaw(frozen)

    assert (await described(loader.engine, loader.model)).state is ModelState.COLD
    await loader.engine.load(loader.model, loader.context_tokens)
    assert (await ask(loader.engine, loader.model, chat(REVERSE[0])))[0] == REVERSE[1]


async def test_another_context_means_another_load(warm_loader: Bench):
    loaded = await warm_loader.engine.load(warm_loader.model, 512)

    assert loaded.context_tokens == 512
    assert still((await described(warm_loader.engine, warm_loader.model)).loaded) == still(loaded)


async def test_more_context_than_the_model_was_made_for_is_refused_with_numbers(loader: Bench):
    with pytest.raises(ContextTooLong, match="2048"):
        await loader.engine.load(loader.model, 4096)


async def test_a_model_that_is_not_there_is_unknown(bench: Bench):
    with pytest.raises(UnknownModel):
        await bench.engine.load("no-such-model", bench.context_tokens)


async def test_an_unloaded_model_is_cold_and_answers_no_more(warm_loader: Bench):
    await warm_loader.engine.unload(warm_loader.model)

    assert (await described(warm_loader.engine, warm_loader.model)).state is ModelState.COLD
    with pytest.raises(ModelNotLoaded):
        await ask(warm_loader.engine, warm_loader.model, chat("hello"))


async def test_unloading_what_is_not_loaded_changes_nothing(loader: Bench):
    await loader.engine.unload(loader.model)
    await loader.engine.unload("no-such-model")


async def test_a_model_that_runs_is_not_unloaded(warm_loader: Bench):
    async with aclosing(await begun(warm_loader.engine, warm_loader.model, chat(LONG[0]))):
        with pytest.raises(Busy):
            await warm_loader.engine.unload(warm_loader.model)
        with pytest.raises(Busy):
            await warm_loader.engine.load(warm_loader.model, 512)

    await warm_loader.engine.unload(warm_loader.model)


async def test_a_closed_engine_has_nothing_in_memory(warm_loader: Bench):
    await warm_loader.engine.aclose()

    assert (await described(warm_loader.onlooker, warm_loader.model)).state is ModelState.COLD
