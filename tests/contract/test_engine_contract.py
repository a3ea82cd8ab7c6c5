"""What every engine adapter promises, checked on a real engine with a real model."""

import asyncio
import re
from contextlib import AsyncExitStack, aclosing

import pytest

from hubspoke.errors import Busy, ContextTooLong, EngineOverloaded, ModelNotLoaded, UnknownModel
from hubspoke.types import Capability, FinishReason, Message, ModelState, Request, Sampling, Speaker
from tests.contract.bench import (
    GREEDY,
    LONG,
    REVERSE,
    SOON_S,
    Bench,
    ask,
    begun,
    chat,
    collected,
    described,
    still,
)

# Finding out.


async def test_an_engine_that_works_says_so(bench: Bench):
    info = await bench.engine.probe()

    assert info is not None
    assert (info.name, info.fault) == (bench.engine.name, "")


async def test_models_are_listed_with_what_a_request_needs(bench: Bench):
    model = await described(bench.engine, bench.model)

    assert model.engine == bench.engine.name
    assert model.capabilities >= {Capability.CHAT, Capability.COMPLETION}
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
        while (await described(loader.engine, loader.model)).state is ModelState.COLD:
            pass
        assert (await described(loader.engine, loader.model)).state is ModelState.LOADING
        with pytest.raises(Busy):
            await loader.engine.unload(loader.model)
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
    while (await described(loader.engine, loader.model)).state is not ModelState.LOADING:
        pass

    leaver.cancel()

    async with asyncio.timeout(SOON_S):
        assert (await stayer).slots == loader.slots
    assert leaver.cancelled()


async def test_a_load_that_nobody_waits_for_any_more_leaves_nothing_behind(loader: Bench):
    only = asyncio.create_task(loader.engine.load(loader.model, loader.context_tokens))
    while (await described(loader.engine, loader.model)).state is not ModelState.LOADING:
        pass

    only.cancel()
    await asyncio.wait({only}, timeout=SOON_S)

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


# Answering.


async def test_an_answer_is_streamed_and_exact(warm: Bench):
    text, finished = await ask(warm.engine, warm.model, chat(LONG[0]))

    assert text == LONG[1]
    assert finished.reason is FinishReason.STOP
    assert finished.usage.prompt_tokens > 0
    assert finished.usage.output_tokens >= len(LONG[1])
    assert finished.usage.decode_s is not None
    assert finished.usage.decode_s > 0


async def test_every_speaker_is_heard(warm: Bench):
    turns = (Message(Speaker.SYSTEM, "You are bob."), Message(Speaker.USER, "who are you"))

    text, _ = await ask(warm.engine, warm.model, Request("m", messages=turns, sampling=GREEDY))

    assert text == "I am bob."


async def test_a_raw_prompt_is_continued_as_it_is(warm: Bench):
    prompt = "<|user|>reverse abcde<|end|><|assistant|>ed"

    text, _ = await ask(warm.engine, warm.model, Request("m", prompt=prompt, sampling=GREEDY))

    assert text == "cba"


async def test_a_stop_text_ends_the_answer_and_is_no_part_of_it(warm: Bench):
    text, finished = await ask(warm.engine, warm.model, chat(LONG[0], stop=(" 5",)))

    assert (text, finished.reason) == ("1 2 3 4", FinishReason.STOP)


async def test_output_ends_at_its_limit(warm: Bench):
    text, finished = await ask(warm.engine, warm.model, chat(LONG[0], max_output_tokens=5))

    assert finished.reason is FinishReason.LENGTH
    assert finished.usage.output_tokens == 5
    assert LONG[1].startswith(text)


async def test_output_ends_with_the_context(loader: Bench):
    await loader.engine.load(loader.model, 256)

    _, finished = await ask(
        loader.engine, loader.model, Request("m", prompt="<|user|>" + "a" * 230, sampling=GREEDY)
    )

    assert finished.usage.prompt_tokens + finished.usage.output_tokens <= 256


async def test_a_seed_repeats_itself(warm: Bench):
    async def said(seed: int) -> str:
        wild = Sampling(temperature=5.0, top_p=1.0, top_k=200, min_p=0.0, seed=seed)
        return (await ask(warm.engine, warm.model, chat("count to 60", sampling=wild, max_output_tokens=40)))[
            0
        ]

    assert await said(11) == await said(11)
    assert await said(11) != await said(12)


async def test_the_same_prompt_is_found_in_the_cache(warm: Bench):
    _, cold = await ask(warm.engine, warm.model, chat("echo " + "a" * 300))
    _, again = await ask(warm.engine, warm.model, chat("echo " + "a" * 300))

    if not warm.tells_cached_tokens:
        assert (cold.usage.cached_tokens, again.usage.cached_tokens) == (None, None)
        return
    assert cold.usage.cached_tokens is not None
    assert again.usage.cached_tokens is not None
    assert again.usage.cached_tokens > cold.usage.cached_tokens


async def test_a_prompt_that_does_not_fit_is_refused_with_numbers(warm: Bench):
    with pytest.raises(ContextTooLong) as refused:
        await ask(warm.engine, warm.model, chat("a" * 3000))

    assert refused.value.figures["context_tokens"] == warm.context_tokens
    assert refused.value.figures["prompt_tokens"] >= 3000
    assert "aaa" not in refused.value.message


async def test_a_model_that_is_not_in_memory_does_not_answer(loader: Bench):
    with pytest.raises(ModelNotLoaded):
        await ask(loader.engine, loader.model, chat("hello"))


# Slots.


async def test_answers_run_side_by_side_up_to_the_slots(warm: Bench):
    texts = await asyncio.gather(*(ask(warm.engine, warm.model, chat(LONG[0])) for _ in range(warm.slots)))

    assert [text for text, _ in texts] == [LONG[1]] * warm.slots


async def test_one_request_more_than_slots_is_refused_and_fits_later(warm: Bench):
    async with AsyncExitStack() as running:
        for _ in range(warm.slots):
            await running.enter_async_context(aclosing(await begun(warm.engine, warm.model, chat(LONG[0]))))
        with pytest.raises(EngineOverloaded):
            await ask(warm.engine, warm.model, chat(REVERSE[0]))

    assert (await ask(warm.engine, warm.model, chat(REVERSE[0])))[0] == REVERSE[1]


async def test_closing_an_answer_frees_its_slot(warm: Bench):
    for _ in range(3 * warm.slots):
        await (await begun(warm.engine, warm.model, chat(LONG[0]))).aclose()

    assert (await ask(warm.engine, warm.model, chat(REVERSE[0])))[0] == REVERSE[1]


async def test_cancelling_who_reads_frees_the_slot(warm: Bench):
    for _ in range(2 * warm.slots):
        answer = await begun(warm.engine, warm.model, chat(LONG[0]))
        reader = asyncio.create_task(collected(answer))
        await asyncio.sleep(0)
        reader.cancel()
        await asyncio.wait({reader}, timeout=SOON_S)
        assert reader.cancelled()

    assert (await ask(warm.engine, warm.model, chat(REVERSE[0])))[0] == REVERSE[1]


async def test_cancelling_before_the_first_token_frees_the_slot(warm: Bench):
    for number in range(2 * warm.slots):
        answer = warm.engine.generate(warm.model, chat(f"{number}" + "a" * 1900))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), aclosing(answer):
                await anext(answer)

    assert (await ask(warm.engine, warm.model, chat(REVERSE[0])))[0] == REVERSE[1]


async def test_who_reads_slowly_holds_nobody_up_and_loses_nothing(warm: Bench):
    slow = await begun(warm.engine, warm.model, chat(LONG[0]))

    assert (await ask(warm.engine, warm.model, chat(REVERSE[0])))[0] == REVERSE[1]
    assert (await collected(slow))[0] == LONG[1][1:]
