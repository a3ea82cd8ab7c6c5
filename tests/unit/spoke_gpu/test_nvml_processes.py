"""Who computes on NVIDIA's cards, as far as the driver tells."""

import pynvml
import pytest

from hubspoke.types import Gpu, GpuProcess
from spoke.gpu.nvml import PROCESSES_MAX, NvmlProbe
from tests.fakes.nvml import Card, FakeNvml, Listed, driver

MIB = 2**20


async def look_at(card: Card) -> Gpu:
    with driver(FakeNvml([card])):
        probe = NvmlProbe()
        ((seen),) = await probe.look()
        await probe.aclose()
    assert seen.gpu.fault == ""
    return seen.gpu


async def test_who_computes_and_who_draws_is_listed_once_and_the_largest_first():
    card = Card(
        computing=[Listed(10, 100 * MIB), Listed(20, 900 * MIB)],
        drawing=[Listed(30, 300 * MIB), Listed(20, 900 * MIB)],
    )

    assert (await look_at(card)).processes == (
        GpuProcess(20, 900 * MIB),
        GpuProcess(30, 300 * MIB),
        GpuProcess(10, 100 * MIB),
    )


async def test_what_windows_does_not_tell_is_unknown_and_not_nothing():
    card = Card(computing=[Listed(10, None), Listed(20, MIB)], drawing=[Listed(30, None)])

    assert (await look_at(card)).processes == (
        GpuProcess(20, MIB),
        GpuProcess(10, None),
        GpuProcess(30, None),
    )


async def test_what_one_list_tells_of_a_process_holds_where_the_other_does_not():
    card = Card(computing=[Listed(10, None)], drawing=[Listed(10, MIB)])

    assert (await look_at(card)).processes == (GpuProcess(10, MIB),)


async def test_a_process_on_two_instances_of_a_card_has_both():
    card = Card(computing=[Listed(10, MIB, instance=1), Listed(10, 2 * MIB, instance=2)])

    assert (await look_at(card)).processes == (GpuProcess(10, 3 * MIB),)


async def test_a_card_with_more_processes_than_are_carried_shows_the_largest():
    card = Card(computing=[Listed(pid, pid * MIB) for pid in range(1, 201)])

    found = (await look_at(card)).processes

    assert [process.pid for process in found] == list(range(200, 200 - PROCESSES_MAX, -1))


async def test_an_old_driver_lists_them_by_the_old_call():
    card = Card(computing=[Listed(10, MIB)], drawing=[Listed(20, 1)], list_version=2)

    assert (await look_at(card)).processes == (GpuProcess(10, MIB), GpuProcess(20, 1))


@pytest.mark.parametrize(
    "card",
    [
        Card(computing=[Listed(10, MIB)], list_version=1),
        Card(computing=[Listed(10, MIB)], list_grows=True),
        Card(
            computing=[Listed(10, MIB)],
            fails={"nvmlDeviceGetComputeRunningProcesses_v3": pynvml.NVML_ERROR_NO_PERMISSION}
            | {"nvmlDeviceGetComputeRunningProcesses_v2": pynvml.NVML_ERROR_NO_PERMISSION},
        ),
    ],
    ids=["older than both calls", "a list that grows", "no permission"],
)
async def test_a_list_that_cannot_be_had_costs_nothing_else(card: Card):
    found = await look_at(card)

    assert found.processes == ()
    assert found.memory_used_bytes == card.used


async def test_a_part_of_a_card_that_answers_hardly_anything_is_shown_all_the_same():
    odd = {
        "nvmlDeviceGetMemoryInfo": pynvml.NVML_ERROR_NO_PERMISSION,
        "nvmlDeviceGetUtilizationRates": pynvml.NVML_ERROR_NOT_SUPPORTED,
        "nvmlDeviceGetTemperatureV": pynvml.NVML_ERROR_INVALID_ARGUMENT,
        "nvmlDeviceGetTemperature": pynvml.NVML_ERROR_NOT_SUPPORTED,
        "nvmlDeviceGetPciInfo_v3": pynvml.NVML_ERROR_NOT_SUPPORTED,
        "nvmlDeviceGetComputeRunningProcesses_v3": pynvml.NVML_ERROR_INVALID_ARGUMENT,
        "nvmlDeviceGetComputeRunningProcesses_v2": pynvml.NVML_ERROR_INVALID_ARGUMENT,
    }

    found = await look_at(Card(name="NVIDIA A100 MIG 1g.5gb", fails=odd))

    assert found.name == "NVIDIA A100 MIG 1g.5gb"
    assert (found.memory_total_bytes, found.memory_free_bytes, found.memory_used_bytes) == (None, None, None)
