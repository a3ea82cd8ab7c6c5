import pytest

from hub.core import registry as reg
from hub.core import vram
from hubspoke.types import EngineInfo, Gpu, GpuKind, Loaded, MemoryPool
from tests.unit.hub_core.machines import CPU, GIB, GPU, NOW, a_load, a_mesh, a_model, an_inventory, warm

EIGHT_B = 4_920_738_407  # deepseek-r1:8b, Q4_K_M
EIGHT_B_KV = 128 * 1024


def card(index=0, free=8 * GIB, kind=GpuKind.CUDA, fault=""):
    return Gpu(index, kind, "card", memory_free_bytes=free, fault=fault)


def free(*models, engine=GPU, **given):
    return vram.free_bytes(a_mesh(den=an_inventory(*models, **given)).spokes["den"], engine)


def test_a_load_needs_its_weights_and_the_cache_of_all_its_slots():
    model = a_model(size=EIGHT_B, kv_bytes_per_token=EIGHT_B_KV, slots=2, context=4096)
    assert vram.needed_bytes(model) == EIGHT_B * 110 // 100 + 2 * 4096 * EIGHT_B_KV


@pytest.mark.parametrize(
    ("size", "kv"), [(EIGHT_B, EIGHT_B_KV), (1_117_322_599, 28 * 1024), (42_520_000_000, 320 * 1024)]
)
def test_a_cache_of_unknown_size_is_reckoned_on_the_safe_side(size, kv):
    known, unknown = (a_model(size=size, kv_bytes_per_token=k, context=8192) for k in (kv, 0))
    assert vram.needed_bytes(unknown) >= vram.needed_bytes(known)


def test_what_weights_of_unknown_size_need_is_unknown():
    assert vram.needed_bytes(a_model(size=0)) is None


def test_an_engine_has_all_its_cards_and_no_other():
    cards = (card(0, 2 * GIB), card(1, 3 * GIB), card(2, 9 * GIB))
    both = EngineInfo("ollama", gpus=(0, 1))
    assert free(gpus=cards, engines=(both,), engine=both) == 5 * GIB


def test_a_broken_card_has_nothing_to_give():
    assert free(gpus=(card(fault="fell off the bus"),)) == 0


def test_an_engine_without_cards_has_main_memory():
    assert free(engine=CPU, available=3 * GIB) == 3 * GIB


def test_a_card_that_shares_main_memory_counts_as_that():
    assert free(gpus=(card(free=None, kind=GpuKind.METAL),), available=3 * GIB) == 3 * GIB


@pytest.mark.parametrize(
    "gpus", [(card(free=None),), ()], ids=["a card that does not say", "a card not listed"]
)
def test_what_no_driver_tells_is_unknown(gpus):
    assert free(gpus=gpus) is None


def test_promised_memory_is_not_free():
    model = a_model()
    mesh = reg.load_started(a_mesh(den=an_inventory(model)), a_load("den", model, 6 * GIB), NOW)
    assert vram.free_bytes(mesh.spokes["den"], GPU) == 2 * GIB
    assert vram.free_bytes(mesh.spokes["den"], CPU) == 16 * GIB


def test_free_memory_is_never_negative():
    model = a_model()
    mesh = reg.load_started(a_mesh(den=an_inventory(model)), a_load("den", model, 60 * GIB), NOW)
    assert vram.free_bytes(mesh.spokes["den"], GPU) == 0


def test_what_is_being_unloaded_is_about_to_be_free():
    old, new = warm("qwen", size=5 * GIB), a_model()
    mesh = a_mesh(den=an_inventory(old, new, free=GIB))
    mesh = reg.load_started(mesh, a_load("den", new, 4 * GIB, [("ollama", "qwen")]), NOW)
    assert vram.free_bytes(mesh.spokes["den"], GPU) == 2 * GIB


def test_engines_with_a_card_in_common_draw_on_the_same_memory():
    wide, narrow = EngineInfo("ollama", gpus=(0, 1)), EngineInfo("vllm", gpus=(1,))
    model = a_model(engine="vllm")
    mesh = a_mesh(den=an_inventory(model, engines=(wide, narrow), gpus=(card(0), card(1))))
    mesh = reg.load_started(mesh, a_load("den", model, GIB), NOW)
    assert vram.reserved_bytes(mesh.spokes["den"], wide) == GIB


def test_a_promise_to_an_engine_that_is_gone_counts_everywhere():
    model = a_model()
    mesh = reg.load_started(a_mesh(den=an_inventory(model)), a_load("den", model, GIB), NOW)
    mesh = reg.beat(mesh, "den", 1, inventory=an_inventory(engines=(CPU,)), draining=False, now=NOW + 1)
    assert vram.reserved_bytes(mesh.spokes["den"], CPU) == GIB


@pytest.mark.parametrize(
    ("loaded", "engine", "bytes_"),
    [
        (Loaded(1, 2048), "ollama", 4 * GIB),
        (Loaded(1, 2048, memory_bytes=5 * GIB), "ollama", 4 * GIB),
        (Loaded(1, 2048, memory_bytes=5 * GIB, vram_bytes=3 * GIB), "ollama", 3 * GIB),
        (Loaded(1, 2048, memory_bytes=5 * GIB, vram_bytes=0), "ollama", 0),
        (Loaded(1, 2048, memory_bytes=5 * GIB, vram_bytes=0), "embedded", 5 * GIB),
        (Loaded(1, 2048, memory_bytes=5 * GIB, vram_bytes=3 * GIB), "embedded", 2 * GIB),
        (Loaded(1, 2048, vram_bytes=5 * GIB), "embedded", 0),
        (None, "ollama", 0),
    ],
    ids=[
        "unknown",
        "in main memory, and unknown on the card",
        "partly on the card",
        "not on the card",
        "in main memory",
        "partly on a card that is not listed",
        "all on a card that is not listed",
        "cold",
    ],
)
def test_a_loaded_model_gives_back_what_it_has_in_its_pool(loaded, engine, bytes_):
    assert vram.occupied_bytes(an_inventory(), warm(loaded=loaded, engine=engine)) == bytes_


def test_what_lies_on_a_card_that_shares_main_memory_is_main_memorys_to_give_back():
    model = warm(loaded=Loaded(1, 2048, memory_bytes=5 * GIB, vram_bytes=5 * GIB))
    assert vram.occupied_bytes(an_inventory(gpus=(card(kind=GpuKind.METAL),)), model) == 5 * GIB


def test_all_that_could_be_had_includes_what_is_loaded():
    spoke = a_mesh(den=an_inventory(warm(size=5 * GIB), warm("tiny", engine="embedded"), free=GIB)).spokes[
        "den"
    ]
    assert vram.attainable_bytes(spoke, GPU) == 6 * GIB


def test_all_that_could_be_had_is_unknown_where_nobody_tells_what_is_free():
    spoke = a_mesh(den=an_inventory(warm(), gpus=())).spokes["den"]
    assert vram.attainable_bytes(spoke, GPU) is None


def test_needs_are_rounded_up_and_offers_down():
    n_bytes = int(6.44 * GIB)
    assert (vram.at_least(n_bytes), vram.at_most(n_bytes)) == ("6.5 GiB", "6.4 GiB")
    assert vram.at_least(1_000_000) == "1.0 MiB"


def test_each_pool_of_memory_is_shown_once_with_what_is_promised_and_what_models_take():
    loaded = warm(loaded=Loaded(2, 2048, memory_bytes=5 * GIB, vram_bytes=3 * GIB))
    cold = a_model("other")
    mesh = reg.load_started(a_mesh(den=an_inventory(loaded, cold)), a_load("den", cold, reserved=GIB), NOW)
    assert vram.pools(mesh.spokes["den"]) == (
        MemoryPool((0,), 12 * GIB, 8 * GIB, reserved_bytes=GIB, observed_bytes=3 * GIB),
        MemoryPool((), 32 * GIB, 16 * GIB),
    )


def test_a_pool_with_a_card_that_says_nothing_is_unknown_and_not_empty():
    card = Gpu(0, GpuKind.CUDA, "card")
    (pool, _) = vram.pools(a_mesh(den=an_inventory(gpus=(card,))).spokes["den"])
    assert (pool.total_bytes, pool.free_bytes) == (None, None)


def test_engines_that_compute_in_main_memory_share_one_pool():
    inventory = an_inventory(engines=(EngineInfo("embedded"), EngineInfo("vllm")), gpus=())
    assert [pool.gpus for pool in vram.pools(a_mesh(den=inventory).spokes["den"])] == [()]
