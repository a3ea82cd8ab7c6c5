"""All sources together: what one of them does must not cost the others."""

import asyncio
import math
import threading

import pytest

from hubspoke.errors import EngineUnavailable, InternalError
from hubspoke.types import Gpu, GpuKind, GpuProcess
from spoke.core.cards import UNKNOWN_GPU, Card
from spoke.gpu.cards import DEVICES_KEPT_S, Cards
from spoke.gpu.nvml import NvmlProbe
from tests.fakes.engine import Gate
from tests.fakes.mesh_hub import soon
from tests.fakes.nvml import Card as NvidiaCard
from tests.fakes.nvml import FakeNvml, Listed, driver

APPLE = Card(Gpu(0, GpuKind.METAL, "Apple M2"))
RADEON = Card(Gpu(0, GpuKind.ROCM, "AMD Radeon RX 7900 XTX", memory_free_bytes=8))
RTX = Card(Gpu(0, GpuKind.CUDA, "NVIDIA GeForce RTX 3060", processes=(GpuProcess(7, 100),)), "0000:01:00.0")


class Source:
    """Sees *cards*, or what else the test wants."""

    def __init__(self, *cards: Card, unseen: tuple[Card, ...] = ()) -> None:
        self.found: tuple[Card, ...] | Gate | Exception = cards
        self.unseen = unseen
        self.looks = 0
        self.closed: list[Source] = []

    async def look(self) -> tuple[Card, ...]:
        self.looks += 1
        if isinstance(self.found, Gate):
            await self.found.pass_through()
            return (RTX,)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    async def aclose(self) -> None:
        self.closed.append(self)


class Devices:
    """What the embedded engine sees, and how old the test lets that be."""

    def __init__(self, *cards: Card) -> None:
        self.found: tuple[Card, ...] | Exception = cards
        self.limits_s: list[float] = []

    async def __call__(self, limit_s: float) -> tuple[Card, ...]:
        self.limits_s.append(limit_s)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("spoke.gpu.cards.LOOK_LIMIT_S", 0.01)


async def test_cards_of_all_sources_are_one_list_with_indexes_of_their_own():
    cards = Cards([Source(RTX), Source(APPLE)], Devices(RADEON))

    assert [(gpu.index, gpu.kind) for gpu in await cards.probe()] == [
        (0, GpuKind.CUDA),
        (1, GpuKind.METAL),
        (2, GpuKind.ROCM),
    ]
    assert await cards.indexes() == (2,)
    await cards.aclose()


@pytest.mark.usefixtures("_short")
async def test_a_source_that_hangs_hides_no_other_and_is_not_waited_for_again():
    hanging, gate = Source(unseen=(Card(UNKNOWN_GPU),)), Gate()
    hanging.found = gate
    cards = Cards([hanging, Source(APPLE)], Devices())

    for _ in range(3):
        unknown, apple = await soon(cards.probe())
        assert (unknown.name, apple.name) == ("unknown", "Apple M2")
        assert "does not answer" in unknown.fault
        assert apple.fault == ""

    assert hanging.looks == 1
    await cards.aclose()


@pytest.mark.usefixtures("_short")
async def test_a_source_that_answers_late_is_heard_at_the_next_look():
    slow, gate = Source(), Gate()
    slow.found = gate
    cards = Cards([slow], Devices())
    assert await cards.probe() == ()

    gate.open()
    while not await cards.probe():
        pass

    assert cards.vram_bytes(7) == 100
    await cards.aclose()


async def test_a_source_that_fails_shows_what_it_last_saw_with_the_reason_and_nothing_that_moves():
    failing = Source(RTX)
    cards = Cards([failing, Source(APPLE)], Devices())
    await cards.probe()

    failing.found = InternalError("the look failed")
    rtx, apple = await cards.probe()

    assert (rtx.name, rtx.fault, rtx.processes) == (RTX.gpu.name, "the look failed", ())
    assert apple.fault == ""
    assert cards.vram_bytes(7) is None
    await cards.aclose()


async def test_an_engine_that_does_not_tell_anew_is_no_fault_of_its_cards():
    devices = Devices(RADEON)
    cards = Cards([], devices)
    await cards.probe()

    devices.found = EngineUnavailable("no process")
    (radeon,) = await cards.probe()

    assert (radeon.name, radeon.fault, radeon.memory_free_bytes) == (RADEON.gpu.name, "", None)
    await cards.aclose()


async def test_the_engine_is_asked_anew_only_for_cards_that_it_alone_sees():
    shown_by_its_driver = Devices(Card(Gpu(0, GpuKind.VULKAN, RTX.gpu.name), RTX.bus_id))
    cards = Cards([Source(RTX)], shown_by_its_driver)
    for _ in range(2):
        assert await cards.indexes() == (0,)
    await cards.aclose()
    assert shown_by_its_driver.limits_s == [math.inf, math.inf]

    devices = Devices(RADEON)
    cards = Cards([Source(RTX)], devices)
    for _ in range(3):
        await cards.probe()
    await cards.aclose()
    assert devices.limits_s == [math.inf, DEVICES_KEPT_S, DEVICES_KEPT_S]


async def test_looks_that_overlap_ask_each_source_once():
    source, gate = Source(), Gate()
    source.found = gate
    cards = Cards([source], Devices())
    looks = [asyncio.create_task(cards.probe()) for _ in range(3)]
    await soon(gate.reached.wait())
    gate.open()

    assert [len(found) for found in await asyncio.gather(*looks)] == [1, 1, 1]
    assert source.looks == 1
    await cards.aclose()


async def test_the_last_source_is_closed_first_and_one_that_fails_costs_no_other():
    closed: list[str] = []

    class Named(Source):
        def __init__(self, name: str, error: Exception | None = None) -> None:
            super().__init__()
            self.name, self.error = name, error

        async def aclose(self) -> None:
            closed.append(self.name)
            if self.error is not None:
                raise self.error

    cards = Cards([Named("first"), Named("second", InternalError("stuck"))], Devices())
    with pytest.raises(InternalError):
        await cards.aclose()

    assert closed == ["second", "first"]


async def test_a_look_that_hangs_is_ended_by_closing():
    source, gate = Source(), Gate()
    source.found = gate
    cards = Cards([source], Devices())
    look = asyncio.create_task(cards.probe())
    await soon(gate.reached.wait())
    look.cancel()

    await soon(cards.aclose())


@pytest.mark.usefixtures("_short")
async def test_a_driver_that_hangs_is_told_and_heard_again_when_it_goes_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("spoke.gpu.nvml.CLOSE_TIMEOUT_S", 0.01)
    library = FakeNvml([NvidiaCard(computing=[Listed(7, 100)])], held=threading.Event())
    with driver(library):
        cards = Cards([NvmlProbe(), Source(APPLE)], Devices())
        unknown, _ = await soon(cards.probe())
        library.held.set()
        while (await cards.probe())[0].fault:
            pass
        await cards.aclose()

    assert (unknown.name, bool(unknown.fault)) == ("unknown", True)
    assert cards.vram_bytes(7) == 100
