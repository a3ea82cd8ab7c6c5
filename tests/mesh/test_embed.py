"""Texts that become vectors: through a real hub, with a spoke that does as it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hubspoke.errors import EngineTruncated, InvalidRequest, SpokeLost, Unsupported
from hubspoke.types import Capability, Embeddings, EmbedRequest, Finished, Started, Waiting
from hubspoke.wire import allowed, requests
from tests.fakes.engine import FakeEngine, a_model
from tests.fakes.real_agent import an_agent
from tests.fakes.real_hub import begins

if TYPE_CHECKING:
    from tests.fakes.real_hub import RealHub

EMBEDDER = a_model("embedder", capabilities=frozenset({Capability.EMBED}))


async def test_vectors_come_in_the_order_of_the_texts(hub: RealHub) -> None:
    engine = FakeEngine(EMBEDDER)
    async with an_agent(hub, "den", engine), hub.app() as app:
        vectors = await app.embed("embedder", ["a", "bcd", "ef"], dimensions=2)
    assert vectors.vectors == ((1.0, 1.0), (3.0, 1.0), (2.0, 1.0))
    assert (vectors.started.spoke, vectors.finished.usage.prompt_tokens) == ("den", 7)
    assert engine.embed_requests[0].dimensions == 2


async def test_they_are_streamed_as_they_are_made(hub: RealHub) -> None:
    async with an_agent(hub, "den", FakeEngine(EMBEDDER)), hub.app() as app:
        events = [event async for event in app.embed_stream(EmbedRequest("embedder", ("a", "bc")))]
    # Whether the hub has heard of a slot that is open is another matter.
    kinds = [type(event) for event in events if not isinstance(event, Waiting)]
    assert kinds == [Started, Embeddings, Embeddings, Finished]


async def test_a_model_that_makes_none_is_refused_before_anybody_works(hub: RealHub) -> None:
    engine = FakeEngine(a_model())
    async with an_agent(hub, "den", engine), hub.app() as app:
        with pytest.raises(Unsupported, match="embed"):
            await app.embed("tiny", ["a"])
    assert engine.embed_requests == []


@pytest.mark.parametrize(("inputs", "says"), [([], "1 to"), (["a", ""], "empty"), (["a"] * 2049, "2049")])
async def test_texts_that_make_no_sense_are_refused(hub: RealHub, inputs: list[str], says: str) -> None:
    async with hub.app() as app:
        with pytest.raises(InvalidRequest, match=says):
            await app.embed("embedder", inputs)


async def test_more_text_than_one_message_holds_of_vectors_comes_in_pieces(hub: RealHub) -> None:
    texts = ["x" * (number % 7 + 1) for number in range(allowed.INPUTS_MAX)]
    async with an_agent(hub, "den", FakeEngine(EMBEDDER)), hub.app() as app:
        vectors = await app.embed("embedder", texts)
    assert [vector[0] for vector in vectors.vectors] == [float(len(text)) for text in texts]


async def test_a_spoke_that_fails_before_any_vector_is_replaced_by_another(hub: RealHub) -> None:
    bad = FakeEngine(EMBEDDER)
    bad.embed_step = EngineTruncated("it broke")
    async with an_agent(hub, "attic", bad), an_agent(hub, "den", FakeEngine(EMBEDDER)), hub.app() as app:
        for _ in range(3):
            assert (await app.embed("embedder", ["a"])).vectors == ((1.0, 1.0),)


async def test_a_spoke_that_is_lost_in_the_middle_ends_the_call(hub: RealHub) -> None:
    async with hub.app() as app, hub.spoke("den", EMBEDDER, slots=1) as den:
        events = aiter(app.embed_stream(EmbedRequest("embedder", ("a", "b"))))
        await begins(events)
        assignment = await den.slots[0].assignment()
        assert requests.embed_from_bytes(assignment.request)[0].inputs == ("a", "b")
        await den.slots[0].vectors(assignment.attempt, Embeddings(0, ((1.0, 0.0),)))
        assert await anext(events) == Embeddings(0, ((1.0, 0.0),))
        await den.channel.close()
        with pytest.raises(SpokeLost):
            await anext(events)
