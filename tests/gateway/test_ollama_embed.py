"""`/api/embed` and `/api/embeddings`, asked with Ollama's own client."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import ollama
import pytest

from hubspoke.errors import ContextTooLong
from hubspoke.types import ModelState
from tests.fakes.engine import FakeEngine
from tests.gateway.ollama_apps import VECTORS, an_app

if TYPE_CHECKING:
    from tests.gateway.conftest import Gateway

COLD = replace(VECTORS, state=ModelState.COLD, loaded=None)


async def test_texts_become_vectors_in_their_order(gateway: Gateway) -> None:
    engine = FakeEngine(VECTORS)
    async with gateway.spoke(engine), an_app(gateway) as app:
        many = await app.embed("vectors", ["a", "abc"], truncate=True, dimensions=2, options={"num_ctx": 1})
        one = await app.embed("vectors", "ab")
    assert (many.embeddings, many.model, many.prompt_eval_count) == ([[1.0, 1.0], [3.0, 1.0]], "vectors", 7)
    assert many.total_duration > many.load_duration >= 0
    assert one.embeddings == [[2.0, 1.0]]
    assert engine.embed_requests[0].dimensions == 2


async def test_the_forerunner_gives_one_vector(gateway: Gateway) -> None:
    async with gateway.spoke(FakeEngine(VECTORS)), an_app(gateway) as app:
        made = await app.embeddings("vectors", "abc")
    assert made.embedding == [3.0, 1.0]


@pytest.mark.parametrize("truncate", [None, True, False])
async def test_nothing_is_ever_cut_from_a_text(gateway: Gateway, truncate: object) -> None:
    engine = FakeEngine(VECTORS)
    engine.embed_step = ContextTooLong("text 0 has 900 tokens, and the model reads 512")
    async with gateway.spoke(engine), an_app(gateway) as app:
        with pytest.raises(ollama.ResponseError, match="900 tokens") as caught:
            await app.embed("vectors", "long", truncate=truncate)
    assert caught.value.status_code == 400


async def test_no_text_loads_the_model(gateway: Gateway) -> None:
    engine = FakeEngine(COLD)
    async with gateway.spoke(engine), an_app(gateway) as app:
        assert (await app.embed("vectors", "")).embeddings == []
        assert (await app.embed("vectors", [])).embeddings == []
        assert (await app.embeddings("vectors")).embedding == []
    assert engine.loads == [("vectors", 2048)]


async def test_an_empty_text_among_others_is_refused(gateway: Gateway) -> None:
    async with an_app(gateway) as app:
        with pytest.raises(ollama.ResponseError, match="empty"):
            await app.embed("vectors", ["a", ""])
        with pytest.raises(ollama.ResponseError, match="dimensions"):
            await app.embed("vectors", ["a"], dimensions=-1)
