"""`/api/generate`, asked with Ollama's own client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ollama
import pytest

from hubspoke.types import Delta, Effort, Image, JsonFormat, KeyPlan, Message, ModelState, Speaker
from tests.fakes.engine import FakeEngine, a_model
from tests.gateway.ollama_apps import ABLE, PNG, PNG_BASE64, an_app

if TYPE_CHECKING:
    from tests.gateway.conftest import Gateway


async def test_a_prompt_is_one_turn_of_the_user_after_the_system_prompt(gateway: Gateway) -> None:
    engine = FakeEngine(ABLE, script=[Delta(thinking="hm"), "fine"])
    async with gateway.spoke(engine), an_app(gateway) as app:
        answer = await app.generate(
            "tiny", "how?", system="be brief", images=[PNG_BASE64], format="json", think="low"
        )
    (request,) = engine.requests
    assert request.messages == (
        Message(Speaker.SYSTEM, "be brief"),
        Message(Speaker.USER, "how?", images=(Image(PNG),)),
    )
    assert (request.format, request.thinking) == (JsonFormat(), Effort.LOW)
    assert (answer.response, answer.thinking, answer.done_reason) == ("fine", "hm", "stop")
    assert (answer.context, answer.prompt_eval_count) == ([], 7)


async def test_a_stream_has_the_text_piece_by_piece(gateway: Gateway) -> None:
    async with gateway.spoke(FakeEngine(ABLE)), an_app(gateway) as app:
        *parts, last = [part async for part in await app.generate("tiny", "how?", stream=True)]
    assert "".join(part.response for part in parts) == "Hello world"
    assert (last.response, last.done, last.context) == ("", True, [])


async def test_a_raw_prompt_is_continued_as_it_is(gateway: Gateway) -> None:
    engine = FakeEngine(ABLE)
    async with gateway.spoke(engine), an_app(gateway) as app:
        await app.generate("tiny", "Once", raw=True, think=False)
    (request,) = engine.requests
    assert (request.prompt, request.messages, request.thinking) == ("Once", (), None)


@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("suffix", {"suffix": "}"}),
        ("context", {"context": [1, 2]}),
        ("template", {"template": "{{ .Prompt }}"}),
        ("system", {"raw": True, "system": "be brief"}),
        ("images", {"raw": True, "images": [PNG_BASE64]}),
        ("think", {"raw": True, "think": True}),
        ("logprobs", {"logprobs": True}),
    ],
)
async def test_what_would_be_left_out_is_refused(
    gateway: Gateway, field: str, more: dict[str, object]
) -> None:
    async with an_app(gateway) as app:
        with pytest.raises(ollama.ResponseError, match=f"^{field}: ") as caught:
            await app.generate("tiny", "how?", **more)
    assert caught.value.status_code == 501


async def test_the_context_that_an_answer_gives_is_taken_back(gateway: Gateway) -> None:
    async with gateway.spoke(FakeEngine(ABLE)), an_app(gateway) as app:
        first = await app.generate("tiny", "how?")
        second = await app.generate("tiny", "and then?", context=first.context)
    assert second.response == "Hello world"


async def test_no_prompt_loads_the_model(gateway: Gateway) -> None:
    engine = FakeEngine(a_model(loaded=False))
    async with gateway.spoke(engine), an_app(gateway) as app:
        answer = await app.generate("tiny")
    assert (answer.done, answer.done_reason, answer.response) == (True, "load", "")
    assert engine.loads == [("tiny", 2048)]


async def test_a_key_that_may_move_models_takes_them_out_of_memory(gateway: Gateway) -> None:
    async with gateway.spoke(FakeEngine(a_model())), an_app(gateway) as app:
        answer = await app.generate("tiny", keep_alive=0)
        await gateway.hub.has_spoke(lambda spoke: spoke.inventory.models[0].state is ModelState.COLD)
    assert answer.done_reason == "unload"


async def test_for_any_other_key_that_is_a_hint(gateway: Gateway) -> None:
    key = await gateway.new_key(KeyPlan("guest"))
    async with gateway.spoke(FakeEngine(a_model())), an_app(gateway, key) as app:
        answer = await app.generate("tiny", keep_alive="0s")
        (running,) = (await app.ps()).models
    assert (answer.done_reason, running.model) == ("unload", "tiny:latest")


async def test_a_load_that_is_asked_for_is_held_to_the_models_of_the_key(gateway: Gateway) -> None:
    key = await gateway.new_key(KeyPlan("guest", models=("other",)))
    async with gateway.spoke(FakeEngine(a_model())), an_app(gateway, key) as app:
        with pytest.raises(ollama.ResponseError, match="may not ask") as caught:
            await app.generate("tiny")
    assert caught.value.status_code == 403


async def test_a_load_ends_with_what_is_in_its_way(gateway: Gateway) -> None:
    async with gateway.spoke(FakeEngine(a_model())), an_app(gateway) as app:
        with pytest.raises(ollama.ResponseError, match="tinny") as caught:
            await app.generate("tinny")
    assert caught.value.status_code == 404
