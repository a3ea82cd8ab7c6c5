"""What every engine adapter promises of its answers, checked on a real engine with a real model."""

import asyncio
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace

import pytest

from hubspoke.errors import ContextTooLong, EngineOverloaded, ModelNotLoaded
from hubspoke.types import Capability, FinishReason, Message, Request, Sampling, Speaker
from tests.contract.bench import (
    GREEDY,
    LONG,
    REVERSE,
    SOON_S,
    Bench,
    answered,
    ask,
    begun,
    chat,
    collected,
    going_on,
)

# Answering.

RAW = "<|user|>reverse abcde<|end|><|assistant|>ed"


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
    text, _ = await ask(warm.engine, warm.model, Request("m", prompt=RAW, sampling=GREEDY))

    assert text == "cba"


async def test_a_stop_text_ends_the_answer_and_is_no_part_of_it(warm: Bench):
    text, finished = await ask(warm.engine, warm.model, chat(LONG[0], stop=(" 5",)))

    assert (text, finished.reason) == ("1 2 3 4", FinishReason.STOP)


async def test_an_engine_that_knows_tells_which_stop_text_it_was(warm: Bench):
    raw = Request("m", prompt=RAW, sampling=GREEDY, stop=("b",))
    stopped, not_stopped, continued = [
        (await ask(warm.engine, warm.model, request))[1]
        for request in (chat(LONG[0], stop=(" 7", " 5")), chat(REVERSE[0], stop=(" 7",)), raw)
    ]

    assert [stopped.stop, not_stopped.stop] == [" 5" if warm.tells_stops else "", ""]
    assert continued.stop == ("b" if warm.tells_stops and continued.reason is FinishReason.STOP else "")


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


async def test_penalties_make_a_model_repeat_itself_less(warm: Bench):
    mild = replace(GREEDY, frequency_penalty=0.0, presence_penalty=0.0)
    strong = replace(GREEDY, frequency_penalty=2.0, presence_penalty=2.0)

    assert (await ask(warm.engine, warm.model, chat(LONG[0], sampling=mild)))[0] == LONG[1]
    assert (
        await answered(warm.engine, warm.model, chat(LONG[0], sampling=strong, max_output_tokens=100))
    ).text != (LONG[1][:100])


async def test_the_repeat_penalty_has_an_effect_too(warm: Bench):
    warm.needs(Capability.SAMPLING)
    strong = replace(GREEDY, repeat_penalty=5.0)

    answer = await answered(warm.engine, warm.model, chat(LONG[0], sampling=strong, max_output_tokens=100))

    assert not LONG[1].startswith(answer.text)


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
        answer = await begun(warm.engine, warm.model, going_on())
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
