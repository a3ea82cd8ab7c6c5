"""A spoke and an app that change their certificates again and again while answers run: a real hub, a real agent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hubspoke.client import MeshClient
from hubspoke.types import Message, Request, Speaker
from pki.files import NodeFiles
from pki.identity import Role
from tests.fakes.clock import MovableClock
from tests.fakes.engine import FakeEngine, Gate, a_model
from tests.fakes.real_agent import an_agent
from tests.fakes.real_hub import WAIT_S, RealHub

if TYPE_CHECKING:
    from collections.abc import Callable

ASK = Request("tiny", (Message(Speaker.USER, "hello"),))
RENEWALS = 5
HALF_LIFE_S = 14 * 3_600.0


class Serials:
    """The certificates that a directory has held, one after the other."""

    def __init__(self, files: NodeFiles) -> None:
        self._files = files
        self.seen = {files.load_identity().serial}

    def look(self) -> int:
        """Count the changes so far."""
        self.seen.add(self._files.load_identity().serial)
        return len(self.seen) - 1


async def ask_until(client: MeshClient, is_enough: Callable[[], bool]) -> int:
    """Ask one thing after the other, and count the answers; whatever fails comes out."""
    answers = 0
    async with asyncio.timeout(6 * WAIT_S):
        while not is_enough():
            assert (await client.answer(ASK)).finished is not None
            answers += 1
    return answers


async def test_a_spoke_renews_again_and_again_and_no_answer_fails(hub: RealHub) -> None:
    late = MovableClock()
    late.set_day(HALF_LIFE_S)  # to the spoke, each certificate is at its half-life as soon as it comes
    engine = FakeEngine(a_model(slots=4), script=["A", "B"])
    # The app first: the spoke renews from its first moment on, and the hub allows only so many at once.
    async with hub.app() as client, an_agent(hub, "den", engine, slots=4, clock=late):
        serials = Serials(NodeFiles(hub.directory / "den"))
        asking = [ask_until(client, lambda: serials.look() >= RENEWALS) for _ in range(3)]
        answers = sum(await asyncio.gather(*asking))
        assert answers > RENEWALS
        assert (await hub.is_listed("den", 4)).busy == 0


async def test_a_long_answer_outlives_every_renewal_of_its_spoke(hub: RealHub) -> None:
    late = MovableClock()
    late.set_day(HALF_LIFE_S)
    engine = FakeEngine(a_model(slots=2), script=["A", gate := Gate(), "B"])
    async with hub.app() as client, an_agent(hub, "den", engine, slots=2, clock=late):
        serials = Serials(NodeFiles(hub.directory / "den"))
        answer = asyncio.create_task(client.answer(ASK))
        await asyncio.wait_for(gate.reached.wait(), WAIT_S)
        moved = await hub.has_spoke(lambda _: serials.look() >= RENEWALS)
        assert moved.busy == 1
        gate.open()
        assert (await answer).text == "AB"
        await hub.is_listed("den", 2)


async def test_an_app_renews_again_and_again_and_no_answer_fails(hub: RealHub) -> None:
    files = await hub.join("laptop", Role.APP)
    late = MovableClock()
    late.set_day(HALF_LIFE_S)
    engine = FakeEngine(a_model(slots=2), script=["A", "B"])
    async with an_agent(hub, "den", engine), MeshClient(files.directory, clock=late) as client:
        serials = Serials(files)
        assert await ask_until(client, lambda: serials.look() >= RENEWALS) > RENEWALS
