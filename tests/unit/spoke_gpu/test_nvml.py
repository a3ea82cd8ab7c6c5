"""The probe runs on pynvml's own code, over a driver that is not there."""

import asyncio
import threading

import pynvml
import pytest

from hubspoke.errors import InternalError
from hubspoke.types import Gpu, GpuKind
from spoke.gpu import nvml
from spoke.gpu.none import NoGpus
from spoke.gpu.nvml import NvmlProbe
from tests.fakes.nvml import Card, FakeNvml, driver, no_driver

LOST = pynvml.NVML_ERROR_GPU_IS_LOST


async def look(library: FakeNvml | None) -> tuple[Gpu, ...]:
    with driver(library):
        probe = NvmlProbe()
        try:
            return tuple(card.gpu for card in await probe.look())
        finally:
            await probe.aclose()


async def test_a_machine_without_the_driver_has_no_cards():
    with no_driver():
        assert await NvmlProbe().look() == ()


async def test_four_cards_are_described_in_their_order():
    cards = [Card(uuid=f"GPU-{number}", free=number * 2**30) for number in range(4)]

    found = await look(FakeNvml(cards))

    assert [gpu.index for gpu in found] == [0, 1, 2, 3]
    assert [gpu.uuid for gpu in found] == ["GPU-0", "GPU-1", "GPU-2", "GPU-3"]
    assert found[2] == Gpu(
        index=2,
        kind=GpuKind.CUDA,
        name="NVIDIA GeForce RTX 3060",
        uuid="GPU-2",
        memory_total_bytes=12 * 2**30,
        memory_free_bytes=2 * 2**30,
        memory_used_bytes=2**29,
        utilisation_percent=37,
        temperature_celsius=55,
    )


async def test_what_a_card_does_not_tell_is_unknown():
    (gpu,) = await look(FakeNvml([Card(utilisation=None, temperature=None)]))

    assert (gpu.utilisation_percent, gpu.temperature_celsius, gpu.fault) == (None, None, "")


async def test_an_old_driver_tells_the_temperature_by_the_old_call():
    (gpu,) = await look(FakeNvml([Card(knows_new_temperature=False, temperature=61)]))

    assert gpu.temperature_celsius == 61


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "reboot"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "not loaded"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "/dev/nvidia"),
        (pynvml.NVML_ERROR_UNKNOWN, "Unknown Error"),
    ],
)
async def test_a_driver_that_does_not_work_is_a_fault_and_not_a_machine_without_cards(
    error: int, advice: str
):
    (gpu,) = await look(FakeNvml([Card()], init=error))

    assert advice in gpu.fault
    assert gpu.memory_free_bytes is None


async def test_a_lost_card_has_a_fault_and_leaves_the_others_usable():
    healthy, lost = await look(FakeNvml([Card(), Card(broken=LOST)]))

    assert healthy.fault == ""
    assert "fell off the bus" in lost.fault
    assert lost.index == 1


@pytest.mark.parametrize(
    ("error", "advice"), [(LOST, "fell off the bus"), (pynvml.NVML_ERROR_RESET_REQUIRED, "needs a reset")]
)
async def test_one_of_four_that_breaks_in_the_middle_of_a_look_keeps_its_name_and_its_place(
    error: int, advice: str
):
    breaking = Card(name="NVIDIA GeForce RTX 3090", fails={"nvmlDeviceGetMemoryInfo": error})

    found = await look(FakeNvml([Card(), Card(), breaking, Card()]))

    assert [bool(gpu.fault) for gpu in found] == [False, False, True, False]
    assert advice in found[2].fault
    assert (found[2].index, found[2].name) == (2, "NVIDIA GeForce RTX 3090")


async def test_a_card_that_may_not_be_asked_about_its_memory_is_usable():
    denied = Card(fails={"nvmlDeviceGetMemoryInfo": pynvml.NVML_ERROR_NO_PERMISSION})

    (gpu,) = await look(FakeNvml([denied]))

    assert (gpu.memory_free_bytes, gpu.memory_used_bytes, gpu.fault) == (None, None, "")


async def test_the_place_of_a_card_is_told_for_others_to_know_it_by():
    with driver(FakeNvml([Card(bus_id="00000000:0A:00.0")])):
        probe = NvmlProbe()
        (card,) = await probe.look()
        await probe.aclose()

    assert card.bus_id == "0000:0a:00.0"


async def test_a_driver_that_recovers_is_found_again():
    library = FakeNvml([Card()], init=pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH)
    with driver(library):
        probe = NvmlProbe()
        (before,) = await probe.look()
        library.init = pynvml.NVML_SUCCESS
        (after,) = await probe.look()
        await probe.aclose()

    assert (bool(before.gpu.fault), after.gpu.fault) == (True, "")


async def test_the_driver_is_started_once_and_let_go_in_the_end():
    library = FakeNvml([Card()])
    with driver(library):
        probe = NvmlProbe()
        await probe.look()
        await probe.look()
        await probe.aclose()

    assert (library.starts, library.stops) == (1, 1)


async def test_a_driver_that_hangs_in_the_end_keeps_nobody(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nvml, "CLOSE_TIMEOUT_S", 0.01)
    library = FakeNvml([Card()])
    with driver(library):
        probe = NvmlProbe()
        await probe.look()
        library.held = threading.Event()
        async with asyncio.timeout(5):
            await probe.aclose()
        stops = library.stops
        library.held.set()
        await probe.aclose()

    assert stops == 0


async def test_looks_that_overlap_are_one():
    library = FakeNvml([Card()])
    with driver(library):
        probe = NvmlProbe()
        first, second = await asyncio.gather(probe.look(), probe.look())
        await probe.aclose()

    assert first is second


async def test_a_defect_in_a_look_is_told_and_does_not_hang_the_next(monkeypatch: pytest.MonkeyPatch):
    reported = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: reported.set())
    nonsense = FakeNvml([Card(name=5)])
    with driver(nonsense):
        probe = NvmlProbe()
        with pytest.raises(InternalError):
            await probe.look()
        nonsense.cards = [Card()]
        (card,) = await probe.look()
        await probe.aclose()

    assert card.gpu.fault == ""
    assert await asyncio.to_thread(reported.wait, 5)


async def test_no_gpus_finds_none():
    probe = NoGpus()
    assert await probe.probe() == ()
    assert await probe.indexes() == ()
    assert probe.vram_bytes(1) is None
    await probe.aclose()
