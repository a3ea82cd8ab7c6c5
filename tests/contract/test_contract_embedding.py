"""What every engine adapter promises of vectors, checked on a real engine with a real model."""

import asyncio
import math
from contextlib import AsyncExitStack, aclosing

import pytest

from hubspoke.errors import ContextTooLong, EngineOverloaded, InvalidRequest, ModelNotLoaded
from hubspoke.types import Capability, Embeddings, EmbedRequest, FinishReason, Vector
from spoke.engines.vectors import BATCH_TEXTS
from tests.contract.bench import LONG, REVERSE, SOON_S, Bench, ask, begun, chat, embedded

MANY = tuple(f"text {number}" for number in range(2 * BATCH_TEXTS + 6))
CLOSE = 0.999


@pytest.fixture
def able(warm: Bench) -> Bench:
    """Give a bench whose model is loaded and makes vectors."""
    warm.needs(Capability.EMBED)
    return warm


def likeness(one: Vector, other: Vector) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_vectors_come_in_the_order_of_the_texts_and_in_batches(able: Bench):
    firsts: list[int] = []
    vectors: list[Vector] = []
    async with (
        asyncio.timeout(SOON_S),
        aclosing(able.engine.embed(able.model, EmbedRequest("m", MANY))) as events,
    ):
        async for event in events:
            if isinstance(event, Embeddings):
                firsts.append(event.first)
                vectors += event.vectors

    assert firsts == [0, BATCH_TEXTS, 2 * BATCH_TEXTS]
    for number in (0, BATCH_TEXTS - 1, BATCH_TEXTS, len(MANY) - 1):
        (alone,), _ = await embedded(able.engine, able.model, MANY[number])
        assert likeness(vectors[number], alone) > CLOSE
        assert max(range(len(MANY)), key=lambda n: likeness(vectors[n], alone)) == number


async def test_a_vector_does_not_depend_on_what_is_computed_beside_it(able: Bench):
    texts = ("a", "capital of france", "count to 60 " * 9, "hi", "echo " + "b" * 150, "add 17 5")
    together, _ = await embedded(able.engine, able.model, *texts)
    for text, vector in zip(texts, together, strict=True):
        (alone,), _ = await embedded(able.engine, able.model, text)
        assert likeness(vector, alone) > CLOSE


async def test_vectors_have_length_1_and_texts_cost_what_they_are_long(able: Bench):
    vectors, finished = await embedded(able.engine, able.model, "hello", "count to 60")

    assert all(math.isclose(math.hypot(*vector), 1, abs_tol=1e-6) for vector in vectors)
    assert finished.reason is FinishReason.STOP
    assert finished.usage.prompt_tokens >= len("hello") + len("count to 60")
    assert finished.usage.output_tokens == 0


async def test_texts_that_are_alike_are_closer_than_others(able: Bench):
    (france, spain, add), _ = await embedded(
        able.engine, able.model, "capital of france", "capital of spain", "add 17 5"
    )

    assert likeness(france, spain) > likeness(france, add)


async def test_vectors_are_shortened_to_what_is_asked_for(able: Bench):
    (full,), _ = await embedded(able.engine, able.model, "hello")
    (short,), _ = await embedded(able.engine, able.model, "hello", dimensions=16)

    length = math.hypot(*full[:16])
    assert len(short) == 16
    assert short == pytest.approx([number / length for number in full[:16]], abs=1e-5)


async def test_longer_vectors_than_the_model_makes_are_refused_with_both_numbers(able: Bench):
    (full,), _ = await embedded(able.engine, able.model, "hello")

    with pytest.raises(InvalidRequest) as refused:
        await embedded(able.engine, able.model, "hello", dimensions=len(full) + 1)
    assert str(len(full)) in refused.value.message
    assert str(len(full) + 1) in refused.value.message


async def test_a_text_as_long_as_the_context_fits_and_a_longer_one_is_never_cut(able: Bench):
    await embedded(able.engine, able.model, "a" * (able.context_tokens - 1))

    with pytest.raises(ContextTooLong) as refused:
        await embedded(able.engine, able.model, "hello", "a" * (able.context_tokens + 100))
    assert "aaa" not in refused.value.message


async def test_texts_take_a_slot_while_they_become_vectors(able: Bench):
    async with AsyncExitStack() as running:
        for _ in range(able.slots):
            await running.enter_async_context(aclosing(await begun(able.engine, able.model, chat(LONG[0]))))
        with pytest.raises(EngineOverloaded):
            await embedded(able.engine, able.model, "hello")

    await embedded(able.engine, able.model, "hello")


async def test_closing_between_two_batches_frees_the_slot(able: Bench):
    for _ in range(2 * able.slots):
        events = able.engine.embed(able.model, EmbedRequest("m", MANY))
        async with asyncio.timeout(SOON_S):
            await anext(events)
        await events.aclose()

    assert (await ask(able.engine, able.model, chat(REVERSE[0])))[0] == REVERSE[1]


async def test_cancelling_in_a_batch_frees_the_slot(able: Bench):
    long = tuple(f"{number}" + "a" * 100 for number in range(2 * BATCH_TEXTS))
    for _ in range(able.slots):
        events = able.engine.embed(able.model, EmbedRequest("m", long))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), aclosing(events):
                await anext(events)

    await embedded(able.engine, able.model, "hello")


async def test_a_model_that_answers_and_makes_vectors_does_both_at_once(able: Bench):
    able.needs(Capability.CHAT)

    (text, _), (vectors, _) = await asyncio.gather(
        ask(able.engine, able.model, chat(LONG[0])), embedded(able.engine, able.model, *MANY)
    )

    assert text == LONG[1]
    assert len(vectors) == len(MANY)


async def test_a_model_that_is_not_in_memory_makes_no_vectors(loader: Bench):
    loader.needs(Capability.EMBED)

    with pytest.raises(ModelNotLoaded):
        await embedded(loader.engine, loader.model, "hello")
