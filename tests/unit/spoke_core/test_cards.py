"""Cards that several sources see: each once, with a number that stays."""

import pytest

from hubspoke.types import Gpu, GpuKind, GpuProcess
from spoke.core.cards import UNKNOWN_GPU, Card, Overview, bus_id, doubted, overview, taken_bytes

RTX = "NVIDIA GeForce RTX 3060"
RADEON = "AMD Radeon RX 7900 XTX"


def nvidia(index: int = 0, place: str = "", name: str = RTX) -> Card:
    return Card(Gpu(index, GpuKind.CUDA, name, uuid=f"GPU-{index}"), place)


def device(kind: GpuKind, index: int = 0, place: str = "", name: str = RTX) -> Card:
    return Card(Gpu(index, kind, name), place)


def seen(told: list[Card], devices: list[Card], before: Overview | None = None) -> Overview:
    return overview(told, devices, before or Overview())


def test_a_card_that_no_driver_shows_is_one_more():
    radeon = device(GpuKind.ROCM, 0, "0000:0a:00.0", RADEON)

    found = seen([nvidia(0), nvidia(1)], [radeon])

    assert [(gpu.index, gpu.kind, gpu.name) for gpu in found.gpus] == [
        (0, GpuKind.CUDA, RTX),
        (1, GpuKind.CUDA, RTX),
        (2, GpuKind.ROCM, RADEON),
    ]
    assert found.engine_gpus == (2,)
    assert found.extra_gpus


@pytest.mark.parametrize("kind", [GpuKind.CUDA, GpuKind.VULKAN])
def test_a_card_that_its_driver_shows_is_not_shown_again(kind: GpuKind):
    cards = [nvidia(0, "0000:01:00.0"), nvidia(1, "0000:02:00.0")]

    found = seen(cards, [device(kind, 0, "0000:02:00.0")])

    assert len(found.gpus) == 2
    assert found.engine_gpus == (1,)  # as with CUDA_VISIBLE_DEVICES=1, which numbers anew
    assert not found.extra_gpus


def test_without_places_cards_of_one_name_are_taken_in_their_order():
    devices = [device(GpuKind.VULKAN, 0), device(GpuKind.VULKAN, 1, name="other"), device(GpuKind.VULKAN, 2)]

    found = seen([nvidia(0), nvidia(1)], devices)

    assert found.engine_gpus == (0, 1, 2)
    assert [gpu.name for gpu in found.gpus] == [RTX, RTX, "other"]


def test_a_card_of_nvidia_is_its_drivers_to_show_also_while_that_is_broken():
    broken = Card(UNKNOWN_GPU)

    found = seen([broken], [device(GpuKind.CUDA, 0), device(GpuKind.CUDA, 1), device(GpuKind.VULKAN, 0)])

    assert [gpu.name for gpu in found.gpus] == ["unknown"]
    assert found.engine_gpus == (0,)


def test_a_card_of_nvidia_whose_driver_has_no_library_is_shown_by_the_engine():
    found = seen([], [device(GpuKind.CUDA, 0, name="Orin")])

    assert [gpu.name for gpu in found.gpus] == ["Orin"]
    assert found.engine_gpus == (0,)


def test_apples_gpu_is_one_whoever_sees_it():
    apple = Card(Gpu(0, GpuKind.METAL, "Apple M2 Pro", memory_total_bytes=1 << 34))

    found = seen([apple], [device(GpuKind.METAL, 0, name="Apple M2 Pro")])

    assert found.gpus == (apple.gpu,)
    assert found.engine_gpus == (0,)


def test_a_number_stays_when_more_cards_come():
    radeon = device(GpuKind.ROCM, 0, name=RADEON)
    before = seen([Card(UNKNOWN_GPU)], [radeon])

    after = seen([nvidia(0), nvidia(1)], [radeon], before)

    assert [(gpu.index, gpu.name) for gpu in after.gpus] == [(0, RTX), (1, RADEON), (2, RTX)]
    assert before.engine_gpus == after.engine_gpus == (1,)


def test_a_number_stays_when_a_card_is_gone_for_a_while():
    radeon = device(GpuKind.ROCM, 0, name=RADEON)
    before = seen([nvidia(0)], [radeon])

    meanwhile = seen([], [radeon], before)
    after = seen([nvidia(0)], [radeon], meanwhile)

    assert [gpu.index for gpu in meanwhile.gpus] == [1]
    assert after.gpus == before.gpus


def test_doubt_leaves_what_a_card_is_and_not_what_moves():
    card = Card(
        Gpu(
            0,
            GpuKind.CUDA,
            RTX,
            memory_total_bytes=12,
            memory_free_bytes=3,
            memory_used_bytes=9,
            temperature_celsius=50,
            utilisation_percent=1,
            processes=(GpuProcess(1, 9),),
        )
    )

    (doubtful,) = doubted((card,), "silent")

    assert doubtful.gpu == Gpu(0, GpuKind.CUDA, RTX, memory_total_bytes=12, fault="silent")


def gpu(index: int, *processes: GpuProcess) -> Gpu:
    return Gpu(index, GpuKind.CUDA, RTX, processes=processes)


@pytest.mark.parametrize(
    ("gpus", "bytes_"),
    [
        ([gpu(0, GpuProcess(7, 100), GpuProcess(8, 1)), gpu(1, GpuProcess(7, 20))], 120),
        ([gpu(0, GpuProcess(7, 100)), gpu(1, GpuProcess(7, None))], None),
        ([gpu(0, GpuProcess(8, 1))], None),
        ([], None),
    ],
    ids=["on two cards", "one card does not tell", "on no card", "no cards"],
)
def test_what_a_process_has_is_summed_up_where_all_is_told(gpus: list[Gpu], bytes_: int | None):
    assert taken_bytes(gpus, 7) == bytes_


@pytest.mark.parametrize(
    ("text", "written"),
    [("00000000:0A:00.0", "0000:0a:00.0"), ("0000:0a:00.0", "0000:0a:00.0"), ("", "")],
)
def test_a_place_is_written_in_one_way(text: str, written: str):
    assert bus_id(text) == written
