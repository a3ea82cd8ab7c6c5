"""Clients that stop reading in the middle of an answer: they cost the spoke neither its slot nor its stream."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
import pytest

from hub.core.registry import HEARTBEAT_S
from hub.relay.work import SINK_STALL_S
from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.clock import SystemClock
from hubspoke.errors import ClientStalled
from hubspoke.types import FinishReason, Message, Request, Speaker
from hubspoke.wire import requests, status
from pki.identity import Role
from tests.fakes.clock import StillClock
from tests.fakes.real_hub import WAIT_S, real_hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.real_hub import RealHub, ScriptedSpoke

HELLO = Request("tiny", (Message(Speaker.USER, "hello"),))
TEXT = "x" * 16_384
TEXTS_MAX = 1_000
"""16 MB: far beyond what can be under way to a client that does not read."""

DEADLINE_S = 3.0
"""Long enough for the request to reach its spoke, on a machine that stalls too."""

BEATS_TO_BE_SURE = 50
"""So many times the hub has answered without taking a chunk: it waits for the client."""


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


@dataclass
class Stalled:
    """An answer on its way from *den* to a client that does not read it."""

    den: ScriptedSpoke
    call: grpc.aio.UnaryStreamCall[bytes, bytes]
    attempt: int
    sent: int = 0
    is_called_off: bool = False
    telling: asyncio.Task[None] = field(init=False)

    async def tell(self) -> None:
        """Send the answer, which takes as long as somebody takes it."""
        while self.sent < TEXTS_MAX and not self.is_called_off:
            await self.den.slots[0].delta(self.attempt, TEXT)
            self.sent += 1

    async def is_stuck(self) -> None:
        """Wait until the hub takes nothing more."""
        async with asyncio.timeout(WAIT_S):
            before, beats = -1, 0
            while beats < BEATS_TO_BE_SURE:
                beats = beats + 1 if self.sent == before else 0
                before = self.sent
                await self.den.beat()


@asynccontextmanager
async def stalled(hub: RealHub, patience_s: float | None = None) -> AsyncIterator[Stalled]:
    """Have a client ask, for *patience_s* if it is not for ever, and not read."""
    files = await hub.join("sleeper", Role.APP)
    async with hub.spoke("den", slots=1) as den, await hub.channel(files) as channel:
        infer = channel.unary_stream("/hubspoke.api.inference.v1.InferenceService/Infer")
        # From now on: what came before may have taken any time.
        deadline = None if patience_s is None else SystemClock().now() + timedelta(seconds=patience_s)
        call = infer(requests.request_to_wire(HELLO, deadline).SerializeToString())
        assignment = await den.slots[0].assignment()
        answer = Stalled(den, call, assignment.attempt)
        async with asyncio.TaskGroup() as group:
            answer.telling = group.create_task(answer.tell())
            yield answer


async def ends_well(hub: RealHub, answer: Stalled) -> None:
    """The spoke is told to stop, stops, and does its next work on the very same stream."""
    slot = answer.den.slots[0]
    assert (await slot.cancel()).attempt == answer.attempt
    answer.is_called_off = True
    async with asyncio.timeout(WAIT_S):
        await answer.telling  # the hub takes what was under way, and drops it
    await slot.last(answer.attempt, FinishReason.CANCELLED)
    async with hub.app("reader") as app:
        asked = asyncio.create_task(app.answer(HELLO))
        await slot.answer("fine")
        assert (await asked).text == "fine"


async def test_a_client_that_reads_nothing_for_long_is_given_up(hub: RealHub, clock: StillClock) -> None:
    async with stalled(hub) as answer:
        await answer.is_stuck()
        for _ in range(round(SINK_STALL_S / HEARTBEAT_S) + 1):
            clock.move(HEARTBEAT_S)
            await answer.den.beat()
        await ends_well(hub, answer)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await text_bytes(answer.call)
        assert isinstance(status.error_of(caught.value), ClientStalled)


async def test_a_client_that_has_stalled_and_leaves_frees_the_slot_at_once(hub: RealHub) -> None:
    async with stalled(hub) as answer:
        await answer.is_stuck()
        answer.call.cancel()
        await ends_well(hub, answer)


async def test_the_deadline_of_a_client_that_has_stalled_frees_the_slot(hub: RealHub) -> None:
    async with stalled(hub, DEADLINE_S) as answer:
        await answer.is_stuck()
        await ends_well(hub, answer)


async def test_a_client_that_reads_again_in_time_gets_all_of_it(hub: RealHub) -> None:
    async with stalled(hub) as answer:
        await answer.is_stuck()
        received = asyncio.create_task(text_bytes(answer.call))
        await answer.telling
        await answer.den.slots[0].last(answer.attempt)
        assert await received == TEXTS_MAX * len(TEXT)


async def text_bytes(call: grpc.aio.UnaryStreamCall[bytes, bytes]) -> int:
    """Read an answer to its end and count the text in it."""
    async with asyncio.timeout(3 * WAIT_S):  # it may be 16 MB
        return sum([len(pb.InferResponse.FromString(body).delta.text) async for body in call])
