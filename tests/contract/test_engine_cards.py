"""What the embedded engine says of cards: its child process is real, and a file stands for xllamacpp where cards are."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from hubspoke.clock import SystemClock
from hubspoke.types import Gpu, GpuKind
from spoke.agent import card_sources
from spoke.core.cards import Card
from spoke.engines.llamacpp.build import FAULT_KEPT_S, Build
from spoke.engines.llamacpp.engine import EmbeddedEngine
from spoke.gpu.apple import AppleProbe
from spoke.gpu.cards import DEVICES_KEPT_S, Cards
from spoke.gpu.nvml import NvmlProbe
from spoke.models.store import ModelStore
from spoke.platform import Platform, here
from tests.contract.bench import children, described
from tests.contract.conftest import PLAN
from tests.fakes.clock import MovableClock
from tests.fakes.nvml import Card as NvidiaCard
from tests.fakes.nvml import FakeNvml, driver, no_driver

GIB = 2**30
DEVICES = """
import enum, pathlib
Type = enum.Enum("Type", "DEVICE_TYPE_CPU DEVICE_TYPE_GPU DEVICE_TYPE_IGPU DEVICE_TYPE_ACCEL")
def get_device_info():
    keys = "name", "type", "description", "device_id", "memory_total", "memory_free"
    return [dict(zip(keys, (row[0], Type["DEVICE_TYPE_" + row[1]], *row[2:]))) for row in {rows!r}]
"""
PROCESSOR = ("CPU", "CPU", "AMD EPYC", "", 64 * GIB, 64 * GIB)
RADEON = ("ROCm0", "GPU", "AMD Radeon RX 7900 XTX", "0000:0a:00.0", 24 * GIB, 20 * GIB)

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Let children find an xllamacpp that sees what the test wants, in the order of its rows."""

    def write(*rows: tuple[str | int, ...]) -> None:
        (tmp_path / "xllamacpp.py").write_text(DEVICES.format(rows=rows))

    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return write


@pytest.fixture
async def build() -> AsyncIterator[Build]:
    made = Build(MovableClock())
    yield made
    await made.aclose()


async def test_a_build_for_nvidia_names_the_cards_that_it_computes_on_by_their_drivers_numbers(
    store: ModelStore, install: Install
):
    install(
        ("CUDA0", "GPU", "NVIDIA GeForce RTX 3060", "0000:03:00.0", 12 * GIB, GIB),
        ("CUDA1", "GPU", "NVIDIA GeForce RTX 3060", "0000:01:00.0", 12 * GIB, GIB),
        PROCESSOR,
    )
    places = [NvidiaCard(bus_id=f"00000000:0{number}:00.0") for number in (1, 2, 3)]
    build = Build(SystemClock())
    with driver(FakeNvml(places)):
        cards = Cards([NvmlProbe()], build.devices)
        engine = EmbeddedEngine(
            store, plan=PLAN, platform=here(), clock=SystemClock(), build=build, cards=cards
        )
        info = await engine.probe()
        shown = await cards.probe()
        await engine.aclose()
        await cards.aclose()

    assert info.gpus == (0, 2)
    assert len(shown) == 3
    assert {gpu.memory_free_bytes for gpu in shown} == {NvidiaCard().free}


async def test_a_card_that_only_the_build_sees_is_shown_with_its_memory(build: Build, install: Install):
    install(PROCESSOR, RADEON)
    with no_driver():
        cards = Cards([NvmlProbe()], build.devices)
        (gpu,) = await cards.probe()
        assert await cards.indexes() == (0,)
        await cards.aclose()

    assert gpu == Gpu(
        index=0,
        kind=GpuKind.ROCM,
        name="AMD Radeon RX 7900 XTX",
        uuid="0000:0a:00.0",
        memory_total_bytes=24 * GIB,
        memory_free_bytes=20 * GIB,
    )


async def test_the_free_memory_of_such_a_card_is_asked_for_anew(install: Install):
    clock = MovableClock()
    build = Build(clock)
    install(RADEON)
    cards = Cards([], build.devices)
    free = []
    for new, wait_s in ((20, 0), (9, DEVICES_KEPT_S / 2), (8, DEVICES_KEPT_S / 2)):
        install((*RADEON[:-1], new * GIB))
        clock.move(wait_s)
        free += [gpu.memory_free_bytes for gpu in await cards.probe()]
    await cards.aclose()
    await build.aclose()

    assert free == [20 * GIB, 20 * GIB, 8 * GIB]


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([("MTL0", "GPU", "Apple M2", "", 9, 9)], [(GpuKind.METAL, 0)]),
        ([("Metal", "GPU", "Apple M2", "", 9, 9)], [(GpuKind.METAL, 0)]),
        ([("Vulkan1", "GPU", "Arc", "", 9, 9), PROCESSOR], [(GpuKind.VULKAN, 1)]),
        ([("Vulkan0", "IGPU", "Iris", "", 9, 9), PROCESSOR], [(GpuKind.VULKAN, 0)]),
        ([("Vulkan0", "IGPU", "Iris", "", 9, 9), ("Vulkan1", "GPU", "Arc", "", 9, 9)], [(GpuKind.VULKAN, 1)]),
        ([("SYCL0", "GPU", "Arc", "", 9, 9), ("BLAS", "ACCEL", "OpenBLAS", "", 0, 0)], []),
        ([PROCESSOR], []),
    ],
    ids=[
        "Metal",
        "an older Metal",
        "Vulkan",
        "integrated",
        "integrated beside another",
        "no word",
        "processor",
    ],
)
async def test_devices_of_every_kind_that_the_mesh_has_a_word_for_are_cards(
    build: Build, install: Install, rows: list[tuple[str | int, ...]], named: list[tuple[GpuKind, int]]
):
    install(*rows)

    assert [card.key for card in await build.devices(0)] == named
    assert (await build.probe()).fault == ""


async def test_memory_that_the_build_does_not_tell_is_unknown(build: Build, install: Install):
    install(("Vulkan0", "GPU", "Arc", "", 0, 0))

    (card,) = await build.devices(0)

    assert card == Card(Gpu(0, GpuKind.VULKAN, "Arc"))


async def test_a_build_that_fails_once_it_has_worked_is_no_fault_but_what_is_free_is_unknown(
    tmp_path: Path, install: Install
):
    clock = MovableClock()
    build = Build(clock)
    install(RADEON)
    await build.devices(DEVICES_KEPT_S)
    (tmp_path / "xllamacpp.py").write_text("raise RuntimeError('out of memory')")

    clock.move(DEVICES_KEPT_S)
    (card,) = await build.devices(DEVICES_KEPT_S)

    assert (card.gpu.name, card.gpu.memory_free_bytes, card.gpu.fault) == (RADEON[2], None, "")
    assert (await build.probe()).fault == ""
    await build.aclose()


async def test_a_build_that_has_never_worked_is_tried_again_after_a_while(tmp_path: Path, install: Install):
    clock = MovableClock()
    build = Build(clock)
    (tmp_path / "xllamacpp.py").write_text("raise ImportError")
    assert (await build.probe()).fault

    install(RADEON)
    assert await build.devices(0) == ()
    clock.move(FAULT_KEPT_S)

    assert (await build.probe()).fault == ""
    assert len(await build.devices(DEVICES_KEPT_S)) == 1
    await build.aclose()


# What a loaded model takes.


@dataclass(slots=True)
class Told:
    """Cards whose drivers tell of processes what the test wants."""

    bytes_of: dict[int, int] = field(default_factory=dict)

    async def indexes(self) -> tuple[int, ...]:
        return (0,)

    def vram_bytes(self, pid: int) -> int | None:
        return self.bytes_of.get(pid)


async def test_what_a_loaded_model_takes_is_seen_anew_with_each_look(store: ModelStore):
    told = Told()
    clock = SystemClock()
    engine = EmbeddedEngine(store, plan=PLAN, platform=here(), clock=clock, build=Build(clock), cards=told)
    before = await engine.load("tiny", PLAN.context_tokens)
    (child,) = children()
    told.bytes_of[child.pid] = 5 * GIB
    after = (await described(engine, "tiny")).loaded
    resident_bytes = psutil.Process(child.pid).memory_info().rss
    await engine.aclose()

    assert before.vram_bytes is None
    assert before.memory_bytes > 0
    assert after is not None
    assert after.vram_bytes == 5 * GIB
    assert after.memory_bytes == pytest.approx(5 * GIB + resident_bytes, abs=2**24)


# Which sources a system has.


@pytest.mark.parametrize(
    ("platform", "source"),
    [
        (Platform(has_unix_sockets=True, has_apple_gpu=True), AppleProbe),
        (Platform(has_unix_sockets=True, has_apple_gpu=False), NvmlProbe),
    ],
    ids=["a Mac", "others"],
)
def test_a_mac_is_asked_for_its_own_gpu_and_others_for_nvidias(platform: Platform, source: type):
    (found,) = card_sources(platform)

    assert isinstance(found, source)
