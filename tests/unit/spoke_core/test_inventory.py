from dataclasses import replace

import pytest

from hubspoke.types import EngineInfo, Gpu, GpuKind, GpuProcess, HostMemory, Place
from spoke.core.inventory import EngineReport, compose, find, is_news, is_urgent
from tests.fakes.engine import a_model

GIB = 1 << 30
MIB = 1 << 20
MEMORY = HostMemory(total_bytes=32 * GIB, available_bytes=16 * GIB)
CARD = Gpu(
    index=0,
    kind=GpuKind.CUDA,
    name="RTX 3060",
    memory_total_bytes=12 * GIB,
    memory_free_bytes=8 * GIB,
    utilisation_percent=50,
    temperature_celsius=60,
    memory_used_bytes=4 * GIB,
    processes=(GpuProcess(10, 3 * GIB), GpuProcess(20, 100 * MIB), GpuProcess(30)),
)
REPORT = EngineReport(EngineInfo("fake"), (a_model("b"), a_model("a", loaded=False)))
BEFORE = compose(MEMORY, [CARD], [REPORT])


def with_card(**changes):
    return replace(BEFORE, gpus=(replace(CARD, **changes),))


def test_the_order_does_not_depend_on_who_answered_first():
    other = EngineReport(EngineInfo("another"), (a_model("c"),))
    inventory = compose(MEMORY, [replace(CARD, index=1), CARD], [REPORT, other])
    assert inventory == compose(MEMORY, [CARD, replace(CARD, index=1)], [other, REPORT])
    assert [model.name for model in inventory.models] == ["c", "a", "b"]
    assert [gpu.index for gpu in inventory.gpus] == [0, 1]


def test_a_model_is_found_by_its_place():
    assert find(BEFORE, Place("fake", "a")) == a_model("a", loaded=False)
    assert find(BEFORE, Place("other", "a")) is None


def test_a_little_less_free_memory_is_no_news():
    assert not is_news(with_card(memory_free_bytes=8 * GIB + 1), BEFORE)
    assert not is_news(with_card(utilisation_percent=51, temperature_celsius=61), BEFORE)


def test_much_less_free_memory_is_news_without_urgency():
    now = with_card(memory_free_bytes=2 * GIB)
    assert is_news(now, BEFORE)
    assert not is_urgent(now, BEFORE)


def test_a_model_that_was_loaded_is_urgent():
    now = replace(BEFORE, models=(a_model("a"), a_model("b")))
    assert is_news(now, BEFORE)
    assert is_urgent(now, BEFORE)


def test_a_card_that_breaks_is_urgent():
    assert is_urgent(with_card(fault="fell off the bus"), BEFORE)


def test_a_figure_that_is_not_known_any_more_is_news():
    assert is_news(with_card(memory_free_bytes=None), BEFORE)


def test_a_figure_that_goes_to_and_fro_over_a_mark_is_no_news():
    just_over, just_under = (with_card(memory_used_bytes=4 * GIB + change) for change in (1, -1))
    assert not is_news(just_under, just_over)
    assert not is_news(just_over, just_under)


def test_a_figure_that_creeps_is_news_once_it_has_come_a_step():
    steps = [with_card(memory_used_bytes=4 * GIB + change * MIB) for change in (30, 60, 90)]
    assert [is_news(now, BEFORE) for now in steps] == [False, False, True]


@pytest.mark.parametrize(
    "processes",
    [
        (GpuProcess(10, 3 * GIB + 1), GpuProcess(20, 101 * MIB), GpuProcess(30)),
        (GpuProcess(10, 3 * GIB), GpuProcess(20, 100 * MIB)),
        (*CARD.processes, GpuProcess(40, 5 * MIB), GpuProcess(50)),
        CARD.processes[::-1],
    ],
    ids=["a little more", "an unknown one went", "small ones came", "another order"],
)
def test_small_changes_among_the_processes_of_a_card_are_no_news(processes):
    assert not is_news(with_card(processes=processes), BEFORE)


@pytest.mark.parametrize(
    "processes",
    [(), (*CARD.processes, GpuProcess(40, GIB)), (GpuProcess(10, 2 * GIB), *CARD.processes[1:])],
    ids=["all went", "a large one came", "one shrank"],
)
def test_large_changes_among_the_processes_of_a_card_are_news_without_urgency(processes):
    now = with_card(processes=processes)
    assert is_news(now, BEFORE)
    assert not is_urgent(now, BEFORE)


def with_loaded(**changes):
    model = a_model("b")
    return replace(BEFORE, models=(BEFORE.models[0], replace(model, loaded=replace(model.loaded, **changes))))


def test_a_loaded_model_that_takes_a_little_more_is_no_news():
    assert not is_news(with_loaded(memory_bytes=5 * GIB + MIB), with_loaded(memory_bytes=5 * GIB))
    assert not is_news(with_loaded(vram_bytes=5 * GIB + MIB), with_loaded(vram_bytes=5 * GIB))


def test_what_a_loaded_model_was_found_to_take_on_cards_is_news_without_urgency():
    now = with_loaded(memory_bytes=5 * GIB, vram_bytes=4 * GIB)
    assert is_news(now, BEFORE)
    assert not is_urgent(now, BEFORE)


def test_a_loaded_model_with_another_context_is_urgent():
    assert is_urgent(with_loaded(context_tokens=512), BEFORE)


def test_a_card_that_came_is_urgent():
    assert is_urgent(replace(BEFORE, gpus=(*BEFORE.gpus, replace(CARD, index=1))), BEFORE)
