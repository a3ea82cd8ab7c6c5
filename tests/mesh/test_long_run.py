"""What time brings to a mesh: silence, leases that end, clients that stall, a full queue, hubs that stop and restart."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hub.core.admission import QUEUE_LIMIT
from hub.core.registry import HEARTBEAT_S, LEASE_S, SILENCE_S
from hub.dispatch.journey import REQUEST_BYTES_MAX
from hubspoke.channel import MESSAGE_BYTES_MAX
from hubspoke.errors import NoSpoke, QueueFull, RequestTooLarge, SpokeLost
from hubspoke.types import Delta, Message, Request, Speaker, SpokeState, Waiting
from hubspoke.wire import requests
from pki.identity import Role
from tests.fakes.clock import StillClock
from tests.fakes.engine import FakeEngine
from tests.fakes.engine import a_model as an_engines_model
from tests.fakes.pauses import pause
from tests.fakes.real_agent import an_agent
from tests.fakes.real_hub import POLL_S, WAIT_S, a_model, an_inventory, begins, real_hub, started_again

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hubspoke.client import MeshClient
    from tests.fakes.real_hub import RealHub

HELLO = Request("tiny", (Message(Speaker.USER, "hello"),))


@pytest.fixture
def patience() -> None:
    """Have no more of it than a hub has: here time passes when a test says so."""


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
async def hub(tmp_path: Path, clock: StillClock) -> AsyncIterator[RealHub]:
    """A hub whose time the test moves."""
    async with real_hub(tmp_path, clock) as running:
        yield running


async def test_a_silent_spoke_gets_no_work_until_it_beats_again(hub: RealHub, clock: StillClock) -> None:
    async with hub.app() as app, hub.spoke("den", slots=1) as den:
        clock.move(SILENCE_S)
        await hub.has_state("den", SpokeState.SILENT)
        async with aclosing(app.infer(HELLO)) as events:
            assert await anext(events) == Waiting(None)
            await den.beat()
            await den.slots[0].answer("back")
            texts = [event.text async for event in events if isinstance(event, Delta)]
        assert texts == ["back"]
        await hub.has_state("den", SpokeState.READY)


async def test_a_lease_that_is_not_renewed_ends_with_all_that_runs_on_it(
    hub: RealHub, clock: StillClock
) -> None:
    async with hub.app() as app, hub.spoke("den", slots=1) as den, aclosing(app.infer(HELLO)) as events:
        await begins(events)
        assignment = await den.slots[0].assignment()
        await den.slots[0].delta(assignment.attempt, "Once upon")
        assert await anext(events) == Delta("Once upon", tokens=0)
        clock.move(LEASE_S)
        with pytest.raises(SpokeLost, match="den"):
            await anext(events)
        await hub.has_state("den", SpokeState.LOST)
        await den.register(an_inventory(a_model()), 1)
        asked = asyncio.create_task(app.answer(HELLO))
        await (await den.open(0)).answer("back")
        assert (await asked).text == "back"


async def test_a_spoke_that_beats_keeps_its_lease_for_as_long_as_it_likes(
    hub: RealHub, clock: StillClock
) -> None:
    async with hub.spoke("den") as den:
        for _ in range(20):
            clock.move(HEARTBEAT_S)
            await den.beat()
        assert (await hub.has_state("den", SpokeState.READY)).slots == 2


async def test_a_full_queue_takes_nobody_until_somebody_leaves(hub: RealHub) -> None:
    async with hub.app() as app, hub.spoke("den", slots=0), AsyncExitStack() as leaving:
        waiting = [await leaving.enter_async_context(aclosing(app.infer(HELLO))) for _ in range(QUEUE_LIMIT)]
        async with asyncio.timeout(3 * WAIT_S):  # all of them together
            assert set(await asyncio.gather(*(anext(events) for events in waiting))) == {Waiting(None)}
        with pytest.raises(QueueFull) as refused:
            await app.answer(HELLO)
        assert refused.value.figures == {"waiting": str(QUEUE_LIMIT), "limit": str(QUEUE_LIMIT)}
        await waiting.pop().aclose()
        async with asyncio.timeout(WAIT_S):
            while not await may_wait(app):  # the hub may hear of the next one first
                await pause(POLL_S)


async def may_wait(app: MeshClient) -> bool:
    """Whether there is room in the queue for one more."""
    async with aclosing(app.infer(HELLO)) as events:
        try:
            return await anext(events) == Waiting(None)
        except QueueFull:
            return False


async def test_a_hub_that_stops_says_so_to_whoever_waits(
    tmp_path: Path, clock: StillClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncExitStack() as stack:
        hubs_own = await stack.enter_async_context(AsyncExitStack())
        hub = await hubs_own.enter_async_context(real_hub(tmp_path, clock))
        app = await stack.enter_async_context(hub.app())
        await stack.enter_async_context(hub.spoke("den", slots=0))
        waiting = [await stack.enter_async_context(aclosing(app.infer(HELLO))) for _ in range(3)]
        assert [await anext(events) for events in waiting] == [Waiting(None)] * 3
        await hubs_own.aclose()
        for events in waiting:
            with pytest.raises(NoSpoke):
                await anext(events)
    told_by_hub = [event for event in caplog.records if event.name.startswith("hub.")]
    assert [
        event.getMessage() for event in told_by_hub if event.exc_info or event.levelno >= logging.ERROR
    ] == []


async def test_an_agent_comes_back_to_a_hub_that_was_started_again(tmp_path: Path) -> None:
    engine = FakeEngine(an_engines_model(), script=["fine"])
    async with AsyncExitStack() as stack:
        hubs_own = await stack.enter_async_context(AsyncExitStack())
        hub = await hubs_own.enter_async_context(real_hub(tmp_path))
        app = await stack.enter_async_context(hub.app())
        await stack.enter_async_context(an_agent(hub, "den", engine))
        assert (await app.answer(HELLO)).text == "fine"
        await hubs_own.aclose()
        async with started_again(hub) as again:
            await again.is_listed("den", 2)
            assert (await app.answer(HELLO)).text == "fine"


async def test_measured_speeds_outlive_the_hub(tmp_path: Path, clock: StillClock) -> None:
    async with real_hub(tmp_path, clock) as hub, hub.app() as app:
        files = await hub.join("den", Role.SPOKE)
        async with hub.connected(files, slots=1) as den:
            asked = asyncio.create_task(app.answer(HELLO))
            await den.slots[0].answer("x")
            await asked
    async with started_again(hub) as again, again.app("tablet") as app, again.connected(files, slots=1):
        (summary,) = await app.models()
    assert summary.replicas[0].decode_tokens_per_s == pytest.approx(9 / 0.09)


async def test_a_request_that_is_too_large_is_refused_and_costs_no_stream(hub: RealHub) -> None:
    model = replace(a_model(), context_tokens_max=1 << 20)
    model = replace(model, plan=replace(model.plan, context_tokens=1 << 20))
    model = replace(model, loaded=replace(model.loaded, context_tokens=1 << 20))
    async with hub.app() as app, hub.spoke("den", model, slots=1) as den:
        for excess in (1, MESSAGE_BYTES_MAX - REQUEST_BYTES_MAX):
            with pytest.raises(RequestTooLarge, match=f"{REQUEST_BYTES_MAX}"):
                await app.answer(a_request_of(REQUEST_BYTES_MAX + excess))
        asked = asyncio.create_task(app.answer(a_request_of(REQUEST_BYTES_MAX)))
        assert len((await den.slots[0].answer("all of it")).request) == REQUEST_BYTES_MAX
        assert (await asked).text == "all of it"


def a_request_of(size_bytes: int) -> Request:
    """A request that is *size_bytes* long on the wire."""

    def with_text(length: int) -> Request:
        return Request("tiny", (Message(Speaker.USER, "x" * length),))

    excess = requests.request_to_wire(with_text(size_bytes)).ByteSize() - size_bytes
    return with_text(size_bytes - excess)
