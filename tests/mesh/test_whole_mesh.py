"""Everything but the model is real: hub, agents, certificates, both ports, the SDK."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING

import pytest

from hubspoke.errors import EngineCrashed, MeshError
from hubspoke.types import (
    Delta,
    FinishReason,
    Message,
    Request,
    Speaker,
    SpokeState,
    Started,
    Waiting,
)
from tests.fakes.engine import FakeEngine, Gate, a_model
from tests.fakes.real_agent import an_agent
from tests.fakes.real_hub import WAIT_S

if TYPE_CHECKING:
    from hubspoke.client import MeshClient
    from tests.fakes.real_hub import RealHub

HELLO = Request("tiny", (Message(Speaker.USER, "hello"),))
WORDS = tuple(f"{number} " for number in range(12))


async def test_an_answer_comes_whole(hub: RealHub) -> None:
    async with an_agent(hub, "den", FakeEngine(a_model(), script=WORDS)), hub.app() as app:
        answer = await app.answer(HELLO)
    assert answer.text == "".join(WORDS)
    assert (answer.started.spoke, answer.finished.reason) == ("den", FinishReason.STOP)
    assert answer.finished.usage.output_tokens == len(WORDS)


async def test_a_cold_model_is_loaded_for_whoever_asks(hub: RealHub) -> None:
    engine = FakeEngine(a_model(loaded=False), script=WORDS)
    async with an_agent(hub, "den", engine), hub.app() as app:
        events = [event async for event in app.infer(HELLO)]
        (summary,) = await app.models()
    assert isinstance(events[0], Waiting)
    assert events[0].spoke == "den"
    assert "".join(event.text for event in events if isinstance(event, Delta)) == "".join(WORDS)
    assert summary.replicas[0].load_s is not None


async def test_cancelling_reaches_the_engine_and_frees_the_slot(hub: RealHub) -> None:
    engine = FakeEngine(a_model(slots=1), script=["a", Gate()])
    async with an_agent(hub, "den", engine, slots=1), hub.app() as app:
        for _ in range(3):
            async with aclosing(app.infer(HELLO)) as events:
                async for event in events:
                    if isinstance(event, Delta):
                        break
            async with asyncio.timeout(WAIT_S):
                await engine.closed.acquire()
            await hub.is_listed("den", 1)
    assert engine.running == 0


async def test_an_engine_that_crashes_is_told_with_its_reason_and_the_slot_goes_on(hub: RealHub) -> None:
    engine = FakeEngine(a_model(slots=1), script=["a", EngineCrashed("llama.cpp died on it")])
    async with an_agent(hub, "den", engine, slots=1), hub.app() as app:
        with pytest.raises(EngineCrashed, match="died on it"):
            await app.answer(HELLO)
        engine.script = ("fine",)
        assert (await app.answer(HELLO)).text == "fine"


async def test_whatever_is_cancelled_and_whenever_every_slot_comes_clean(hub: RealHub) -> None:
    rng = random.Random(20_261_124)
    engines = {name: FakeEngine(a_model(slots=3), script=WORDS) for name in ("den", "attic")}
    async with AsyncExitStack() as stack:
        for name, engine in engines.items():
            await stack.enter_async_context(an_agent(hub, name, engine, slots=3))
        app = await stack.enter_async_context(hub.app())
        limit = asyncio.Semaphore(9)
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            for _ in range(150):
                group.create_task(ask_or_leave(app, limit, rng.randrange(0, 2 * len(WORDS))))
        for name in engines:
            await hub.is_listed(name, 3)
        answers = await asyncio.gather(*(app.answer(HELLO) for _ in range(12)))
    assert {answer.text for answer in answers} == {"".join(WORDS)}
    assert all(engine.running == 0 for engine in engines.values())


async def ask_or_leave(app: MeshClient, limit: asyncio.Semaphore, patience: int) -> None:
    """Ask, and leave after *patience* events; whoever stays gets every byte, once and in order."""
    async with limit, aclosing(app.infer(HELLO)) as events:
        text = ""
        async for event in events:
            if isinstance(event, Delta):
                text += event.text
            if patience == 0:
                break
            patience -= 1
        else:
            assert text == "".join(WORDS)
        assert "".join(WORDS).startswith(text)


async def test_a_spoke_that_is_stopped_ends_its_answer_and_says_goodbye(hub: RealHub) -> None:
    engine = FakeEngine(a_model(), script=["a", gate := Gate(), "b"])
    async with an_agent(hub, "den", engine) as agent, hub.app() as app:
        asked = asyncio.create_task(app.answer(HELLO))
        await asyncio.wait_for(gate.reached.wait(), WAIT_S)
        agent.stop()
        await hub.has_state("den", SpokeState.DRAINING)
        with pytest.raises(MeshError, match="den"):
            await app.answer(HELLO)
        gate.open()
        assert (await asked).text == "ab"
        await hub.has_state("den", SpokeState.LEFT)


async def test_one_of_two_spokes_goes_and_the_mesh_still_answers(hub: RealHub) -> None:
    stuck = Gate()
    async with (
        an_agent(hub, "den", FakeEngine(a_model(slots=1), script=[stuck])) as den,
        hub.app() as app,
    ):
        asked = asyncio.create_task(app.answer(HELLO))
        await asyncio.wait_for(stuck.reached.wait(), WAIT_S)
        async with an_agent(hub, "attic", FakeEngine(a_model(slots=1), script=WORDS)):
            den.stop()
            den.stop()  # at once, with an answer under way
            answer = await asked
    assert (answer.text, answer.started.spoke, answer.started.attempt) == ("".join(WORDS), "attic", 2)
    assert isinstance(answer.started, Started)
