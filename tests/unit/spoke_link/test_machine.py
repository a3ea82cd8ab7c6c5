"""What the spoke knows of its engines and cards, and what it does with loads."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hubspoke.errors import Busy, EngineCrashed, EngineTimeout, InternalError, UnknownModel
from hubspoke.types import Gpu, GpuKind, HostMemory, ModelState, Place
from spoke.core.cards import DRIVER_SILENT, Card
from spoke.gpu.cards import Cards as AllCards
from spoke.gpu.nvml import NvmlProbe
from spoke.link.machine import Machine
from tests.fakes.engine import FakeEngine, Gate, a_model
from tests.fakes.mesh_hub import soon
from tests.fakes.nvml import Card as NvidiaCard
from tests.fakes.nvml import FakeNvml, driver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TINY = Place("fake", "tiny")
CARDS = (Gpu(index=0, kind=GpuKind.CUDA, name="RTX 3060", memory_free_bytes=8 << 30),)


class Cards:
    """A GPU probe that finds one card, or what else the test wants."""

    def __init__(self) -> None:
        self.found: tuple[Gpu, ...] | Gate | Exception = CARDS

    async def probe(self) -> tuple[Gpu, ...]:
        if isinstance(self.found, Gate):
            await self.found.pass_through()
            return CARDS
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    async def aclose(self) -> None:
        pass


@asynccontextmanager
async def watched(
    *engines: FakeEngine, cards: Cards | AllCards | None = None, only=frozenset()
) -> AsyncIterator[Machine]:
    machine = Machine(engines, cards or Cards(), lambda: HostMemory(32 << 30, 16 << 30), only=only)
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(machine.watch())
        await soon(machine.looked.wait())
        yield machine
        watching.cancel()


async def changed(machine: Machine) -> None:
    """Wait for the next urgent change."""
    news = asyncio.Event()
    with machine.on_change(news.set):
        await soon(news.wait())


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch):
    monkeypatch.setattr("spoke.link.machine.LOOK_EVERY_S", 0.01)


async def test_a_model_that_runs_or_is_not_offered_is_not_deleted():
    engine = FakeEngine(a_model(), a_model("other"))
    async with watched(engine, only=frozenset({"tiny"})) as machine:
        machine.begin(TINY)
        assert isinstance(await machine.delete(TINY), Busy)
        machine.end(TINY)
        assert isinstance(await machine.delete(Place("fake", "other")), UnknownModel)
        assert await machine.delete(TINY) is None
        assert machine.inventory.models == ()
    assert [model.name for model in await engine.models()] == ["other"]


async def test_a_delete_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr("spoke.link.machine.DELETE_TIMEOUT_S", 0.01)
    engine = FakeEngine(a_model())
    engine.delete_step = Gate()
    async with watched(engine) as machine:
        assert isinstance(await machine.delete(TINY), EngineTimeout)


async def test_everything_is_known_once_it_was_looked_at():
    async with watched(FakeEngine(a_model())) as machine:
        assert machine.model(TINY) == a_model()
        assert [gpu.name for gpu in machine.inventory.gpus] == ["RTX 3060"]


async def test_only_the_models_that_were_chosen_are_offered():
    async with watched(
        FakeEngine(a_model(), a_model("other")), only=frozenset({"tiny", "nowhere"})
    ) as machine:
        assert [model.name for model in machine.inventory.models] == ["tiny"]
        assert machine.missing == {"nowhere"}


async def test_an_engine_that_fails_its_probe_costs_only_its_own_models():
    broken = FakeEngine(a_model(), name="broken")
    broken.probe_step = EngineCrashed("it died")
    async with watched(broken, FakeEngine(a_model())) as machine:
        faults = {engine.name: engine.fault for engine in machine.inventory.engines}
        assert faults == {"broken": "it died", "fake": ""}
        assert len(machine.inventory.models) == 1


async def test_a_card_whose_driver_fails_stays_listed_with_a_fault():
    cards = Cards()
    async with watched(cards=cards) as machine:
        cards.found = OSError("driver gone")
        await changed(machine)
        (card,) = machine.inventory.gpus
        assert card.fault
        assert card.memory_free_bytes is None


@pytest.mark.parametrize("look", ["hangs", "fails"])
async def test_a_driver_that_has_never_answered_is_not_taken_for_no_card(monkeypatch, look):
    monkeypatch.setattr("spoke.link.machine.PROBE_TIMEOUT_S", 0.01)
    cards, gate = Cards(), Gate()
    cards.found = gate if look == "hangs" else OSError("driver gone")
    async with watched(cards=cards) as machine:
        (card,) = machine.inventory.gpus
        assert card.name == "unknown"
        assert card.fault
        cards.found = CARDS
        gate.open()
        while machine.inventory.gpus != CARDS:
            await changed(machine)


async def test_a_driver_that_hangs_is_in_the_inventory_and_costs_nothing_else(monkeypatch):
    monkeypatch.setattr("spoke.gpu.cards.LOOK_LIMIT_S", 0.01)
    monkeypatch.setattr("spoke.gpu.nvml.CLOSE_TIMEOUT_S", 0.01)
    library = FakeNvml([NvidiaCard()], held=threading.Event())
    with driver(library):
        cards = AllCards([NvmlProbe()], no_devices)
        async with watched(FakeEngine(a_model()), cards=cards) as machine:
            (card,) = machine.inventory.gpus
            assert card.fault == DRIVER_SILENT
            assert machine.model(TINY) == a_model()
            library.held.set()
            while machine.inventory.gpus[0].fault:
                await changed(machine)
        await cards.aclose()
    assert machine.inventory.gpus[0].memory_free_bytes == NvidiaCard().free


async def no_devices(_limit_s: float) -> tuple[Card, ...]:
    return ()


async def test_a_loaded_model_is_known_as_soon_as_the_load_is_done():
    async with watched(FakeEngine(a_model(loaded=False))) as machine:
        assert await machine.load(TINY, 4096) is None
        model = machine.model(TINY)
        assert model is not None
        assert model.state is ModelState.LOADED


async def test_what_a_load_has_left_on_the_cards_is_known_as_soon_as_it_is_done(monkeypatch):
    monkeypatch.setattr("spoke.link.machine.LOOK_EVERY_S", 60)
    cards = Cards()
    async with watched(FakeEngine(a_model(loaded=False)), cards=cards) as machine:
        cards.found = tuple(replace(card, memory_free_bytes=1 << 30) for card in CARDS)
        assert await machine.load(TINY, 4096) is None
        assert [gpu.memory_free_bytes for gpu in machine.inventory.gpus] == [1 << 30]


async def test_a_driver_that_hangs_does_not_hide_what_was_loaded(monkeypatch):
    monkeypatch.setattr("spoke.link.machine.PROBE_TIMEOUT_S", 0.01)
    cards = Cards()
    async with watched(FakeEngine(a_model(loaded=False)), cards=cards) as machine:
        cards.found = Gate()
        await soon(cards.found.reached.wait())
        assert await soon(machine.load(TINY, 4096)) is None
        assert machine.model(TINY).state is ModelState.LOADED


async def test_a_load_goes_on_when_whoever_asked_for_it_is_gone():
    engine = FakeEngine(a_model(loaded=False))
    engine.load_step = gate = Gate()
    async with watched(engine) as machine:
        first = asyncio.create_task(machine.load(TINY, 4096))
        await soon(gate.reached.wait())
        first.cancel()
        await asyncio.wait({first})
        second = asyncio.create_task(machine.load(TINY, 4096))
        gate.open()
        assert await soon(second) is None
        assert engine.loads == [("tiny", 4096)]


async def test_a_load_that_failed_is_tried_anew():
    engine = FakeEngine(a_model(loaded=False))
    async with watched(engine) as machine:
        engine.load_step = EngineCrashed("it died")
        assert isinstance(await machine.load(TINY, 4096), EngineCrashed)
        engine.load_step = None
        assert await machine.load(TINY, 4096) is None


async def test_a_look_that_began_before_a_load_does_not_hide_it():
    engine = FakeEngine(a_model(loaded=False))
    async with watched(engine) as machine:
        engine.probe_step = gate = Gate()
        await soon(gate.reached.wait())
        loading = asyncio.create_task(machine.load(TINY, 4096))
        engine.probe_step = None
        gate.open()
        assert await soon(loading) is None
        model = machine.model(TINY)
        assert model is not None
        assert model.loaded is not None


async def test_a_model_that_runs_is_not_unloaded():
    async with watched(FakeEngine(a_model())) as machine:
        machine.begin(TINY)
        assert isinstance(await machine.unload(TINY), Busy)
        machine.end(TINY)
        assert await machine.unload(TINY) is None


async def test_an_engine_that_is_not_there_is_told():
    async with watched(FakeEngine(a_model())) as machine:
        assert isinstance(await machine.load(Place("none", "tiny"), 1), UnknownModel)


async def test_a_defect_in_a_load_is_told_and_survived():
    engine = FakeEngine(a_model())
    engine.load_step = ValueError("secret path")
    async with watched(engine) as machine:
        assert isinstance(await machine.load(TINY, 1), InternalError)


async def test_the_spoke_is_idle_while_nothing_runs():
    async with watched(FakeEngine(a_model())) as machine:
        machine.begin(TINY)
        assert not machine.idle.is_set()
        assert machine.running(TINY) == 1
        machine.end(TINY)
        assert machine.idle.is_set()


async def test_the_spoke_is_not_idle_while_it_does_what_the_hub_wants():
    async with watched(FakeEngine(a_model())) as machine:
        machine.begin(TINY)
        with machine.obeying():
            machine.end(TINY)
            assert not machine.idle.is_set()
        assert machine.idle.is_set()
