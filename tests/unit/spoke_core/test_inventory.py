from dataclasses import replace

from hubspoke.types import EngineInfo, Gpu, GpuKind, HostMemory, Place
from spoke.core.inventory import EngineReport, compose, find, is_news, is_urgent
from tests.fakes.engine import a_model

GIB = 1 << 30
MEMORY = HostMemory(total_bytes=32 * GIB, available_bytes=16 * GIB)
CARD = Gpu(
    index=0,
    kind=GpuKind.CUDA,
    name="RTX 3060",
    memory_total_bytes=12 * GIB,
    memory_free_bytes=8 * GIB,
    utilisation_percent=50,
    temperature_celsius=60,
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
