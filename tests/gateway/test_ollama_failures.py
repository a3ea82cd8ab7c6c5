"""What Ollama's clients hear while they wait, and when something goes wrong under way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import ollama
import pytest

from hubspoke.errors import ContextTooLong, EngineCrashed, LoadFailed
from hubspoke.types import KeyPlan
from tests.fakes.engine import FakeEngine, Gate, a_model
from tests.fakes.real_hub import WAIT_S
from tests.gateway.ollama_apps import ABLE, HELLO, an_app, lines

if TYPE_CHECKING:
    from tests.gateway.conftest import Gateway

COLD = a_model(loaded=False)


async def test_an_error_under_way_ends_the_stream_as_a_line(gateway: Gateway) -> None:
    engine = FakeEngine(ABLE, script=["a", EngineCrashed("llama.cpp died on it")])
    async with gateway.spoke(engine), an_app(gateway) as app:
        response = await gateway.http.post("/api/generate", json={"model": "tiny", "prompt": "how?"})
        with pytest.raises(ollama.ResponseError, match="died on it"):
            [part async for part in await app.chat("tiny", HELLO, stream=True)]
    assert response.status_code == 200
    first, last = lines(response.text)
    assert first["response"] == "a"
    assert last == {"error": "llama.cpp died on it", "hubspoke": {"reason": "engine_crashed"}}


async def test_an_error_of_a_whole_answer_has_its_status(gateway: Gateway) -> None:
    engine = FakeEngine(ABLE, script=[ContextTooLong("9000 tokens do not fit")])
    async with gateway.spoke(engine), an_app(gateway) as app:
        with pytest.raises(ollama.ResponseError, match="9000 tokens") as caught:
            await app.chat("tiny", HELLO)
    assert caught.value.status_code == 400


async def test_an_error_says_its_reason_and_its_number(gateway: Gateway) -> None:
    response = await gateway.http.post("/api/chat", json={"model": "tiny", "messages": HELLO})
    body = response.json()
    assert response.status_code == 404
    assert isinstance(body["error"], str)
    assert body["hubspoke"] == {
        "reason": "unknown_model",
        "request_id": response.headers["x-request-id"],
    }


async def test_a_spoke_that_is_lost_under_way_ends_the_stream_as_a_line(gateway: Gateway) -> None:
    said: list[str] = []

    async def ask(app: ollama.AsyncClient) -> None:
        async for part in await app.chat("tiny", HELLO, stream=True):
            said.append(part.message.content)
            heard.set()

    heard = asyncio.Event()
    async with an_app(gateway) as app, asyncio.timeout(WAIT_S):
        async with gateway.hub.spoke("den", slots=1) as spoke:
            asking = asyncio.create_task(ask(app))
            (slot,) = spoke.slots
            await slot.delta((await slot.assignment()).attempt, "half an answ")
            await heard.wait()
        with pytest.raises(ollama.ResponseError, match="den"):
            await asking
    assert said == ["half an answ"]


async def test_an_answer_that_another_spoke_takes_over_says_who_has_made_it(gateway: Gateway) -> None:
    engine = FakeEngine(ABLE, script=["fine"])
    asked = {"model": "tiny", "messages": HELLO}
    async with gateway.hub.spoke("attic", ABLE, slots=1) as first, asyncio.timeout(WAIT_S):
        asking = asyncio.create_task(gateway.http.post("/api/chat", json=asked))
        await first.slots[0].assignment()
        async with gateway.spoke(engine):
            await first.channel.close()
            response = await asking
    first_line, last_line = lines(response.text)
    for line in (first_line, last_line):
        assert (line["hubspoke"]["spoke"], line["hubspoke"]["attempt"]) == ("den", 2)


async def test_a_client_that_goes_away_frees_the_engine(gateway: Gateway) -> None:
    engine = FakeEngine(ABLE, script=["a", Gate()])
    async with gateway.spoke(engine), an_app(gateway) as app:
        async for _ in await app.chat("tiny", HELLO, stream=True):
            break
        async with asyncio.timeout(WAIT_S):
            await engine.closed.acquire()
    assert engine.running == 0


async def test_whoever_waits_for_a_load_hears_empty_text_and_never_a_blank_line(gateway: Gateway) -> None:
    engine = FakeEngine(COLD)
    engine.load_step = gate = Gate()
    async with gateway.spoke(engine), an_app(gateway) as app:
        parts = []
        async for part in await app.chat("tiny", HELLO, stream=True):
            gate.open()
            parts.append(part)
    assert (parts[0].message.content, parts[0].done) == ("", False)
    assert "".join(part.message.content for part in parts) == "Hello world"
    assert parts[-1].load_duration > 0


async def test_the_line_for_who_waits_says_what_for(gateway: Gateway) -> None:
    engine = FakeEngine(COLD)
    engine.load_step = gate = Gate()
    body = {"model": "tiny", "prompt": "how?"}
    async with gateway.spoke(engine), gateway.http.stream("POST", "/api/generate", json=body) as response:
        gate.open()
        first, *_ = lines(await response.aread() and response.text)
    waiting = first["hubspoke"]["waiting"]
    assert (first["response"], first["done"]) == ("", False)
    assert (waiting["for"], waiting["spoke"]) == ("a load", "den")
    assert waiting["elapsed"] > 0


async def test_a_load_that_is_asked_for_and_takes_long_is_told_and_may_still_fail(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.gateway.asking.KEEP_ALIVE_S", 0.01)
    engine = FakeEngine(COLD)
    engine.load_step = gate = Gate()
    async with gateway.spoke(engine):
        async with gateway.http.stream("POST", "/api/generate", json={"model": "tiny"}) as response:
            gate.open()
            *waiting, last = lines(await response.aread() and response.text)
        engine.load_step = None
    assert {line["response"] for line in waiting} == {""}
    assert (last["done"], last["done_reason"]) == (True, "load")


async def test_a_load_that_fails_after_the_first_line_ends_with_an_error(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.gateway.asking.KEEP_ALIVE_S", 0.01)

    class Failing(Gate):
        async def pass_through(self) -> None:
            await super().pass_through()
            raise LoadFailed("the file is damaged")

    engine = FakeEngine(COLD)
    engine.load_step = gate = Failing()
    async with (
        gateway.spoke(engine),
        gateway.http.stream("POST", "/api/chat", json={"model": "tiny"}) as response,
    ):
        gate.open()
        *_, last = lines(await response.aread() and response.text)
    assert "the file is damaged" in last["error"]
    assert "done" not in last


async def test_a_client_that_goes_away_while_a_model_loads_is_let_go(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.gateway.asking.KEEP_ALIVE_S", 0.01)
    engine = FakeEngine(COLD)
    engine.load_step = gate = Gate()
    async with gateway.spoke(engine):
        async with gateway.http.stream("POST", "/api/chat", json={"model": "tiny"}) as response:
            assert response.status_code == 200
        gate.open()
        answer = await gateway.http.post("/api/chat", json={"model": "tiny"})
    assert answer.json()["done_reason"] == "load"
    assert engine.loads == [("tiny", 2048)]


async def test_a_key_is_held_to_its_models_with_and_without_their_tag(gateway: Gateway) -> None:
    bare = await gateway.new_key(KeyPlan("bare", models=("tiny",)))
    tagged = await gateway.new_key(KeyPlan("tagged", models=("tiny:latest",)))
    other = await gateway.new_key(KeyPlan("other", models=("tiny:8b",)))
    async with gateway.spoke(FakeEngine(ABLE)):
        for key in (bare, tagged):
            async with an_app(gateway, key) as app:
                for name in ("tiny", "tiny:latest"):
                    assert (await app.chat(name, HELLO)).done
        async with an_app(gateway, other) as app:
            with pytest.raises(ollama.ResponseError, match="may not ask"):
                await app.chat("tiny", HELLO)
