import pytest

from hub.core import registry as reg
from hub.core.eligibility import PROMPT_BYTES_PER_TOKEN_MAX
from hub.core.registry import LEASE_S, LOAD_RETRY_S, SILENCE_S
from hub.core.scheduler import choose
from hub.core.types import Assign, Load, Refuse, Speed, Wait
from hubspoke.errors import (
    ContextTooLong,
    DoesNotFit,
    EngineUnavailable,
    LoadFailed,
    NoSpoke,
    UnknownModel,
    Unsupported,
)
from hubspoke.types import Capability, EngineInfo, Loaded, ModelState, Place
from tests.unit.hub_core.machines import (
    GIB,
    NOW,
    a_load,
    a_mesh,
    a_model,
    an_ask,
    an_inventory,
    beat,
    calm,
    digest,
    joined,
    warm,
)

LLAMA = a_model()
KEY = LLAMA.digest
SLOW, FAST = Speed(decode_tokens_per_s=10.0), Speed(decode_tokens_per_s=90.0)


def decide(mesh, ask=None, *, running=None, waiting=None, now=NOW):
    return choose(ask or an_ask(), mesh, calm(mesh, running or {}, waiting or {}), now)


def where(decision):
    return decision.target.spoke


def refusal(mesh, ask=None, *, now=NOW, **given):
    decision = decide(mesh, ask, now=now, **given)
    assert isinstance(decision, Refuse)
    return decision.error


def loading(mesh, name="den", model=LLAMA, now=NOW, **given):
    return reg.load_started(mesh, a_load(name, model, **given), now)


def speed(mesh, name, speed):
    return reg.measured(mesh, name, KEY, speed, NOW)


# Warm first.


def test_a_warm_model_with_a_free_slot_is_used():
    decision = decide(a_mesh(den=an_inventory(warm(context=4096)), attic=an_inventory(LLAMA)))
    assert isinstance(decision, Assign)
    assert (where(decision), decision.target.context_tokens) == ("den", 4096)


def test_the_answer_says_what_else_the_name_means():
    mesh = a_mesh(a=an_inventory(warm()), b=an_inventory(warm()), c=an_inventory(a_model(digest=digest("0"))))
    assert decide(mesh).also_named == (digest("0"),)


def test_the_faster_of_two_is_used():
    mesh = a_mesh(a=an_inventory(warm()), b=an_inventory(warm()))
    assert where(decide(speed(speed(mesh, "a", SLOW), "b", FAST))) == "b"


def test_the_less_busy_of_equals_is_used():
    mesh = a_mesh(a=an_inventory(warm()), b=an_inventory(warm()))
    assert where(decide(mesh, running={("a", KEY): 1})) == "b"


def test_a_crowded_spoke_counts_as_slower_than_it_was_measured():
    mesh = speed(a_mesh(a=an_inventory(warm(slots=4)), b=an_inventory(warm())), "a", FAST)
    mesh = speed(mesh, "b", Speed(decode_tokens_per_s=80.0))
    assert where(decide(mesh)) == "a"
    assert where(decide(mesh, running={("a", KEY): 3})) == "b"


def test_the_first_name_decides_between_what_is_equal_in_all():
    assert where(decide(a_mesh(b=an_inventory(warm()), a=an_inventory(warm())))) == "a"


def test_a_spoke_without_an_idle_stream_is_passed_over():
    mesh = a_mesh(a=an_inventory(warm()), b=an_inventory(warm()))
    assert where(decide(mesh, running={("a", "another"): 4})) == "b"


def test_of_two_names_for_one_model_the_loaded_one_is_used():
    mesh = a_mesh(den=an_inventory(a_model("llama3:latest"), warm("mine", digest=KEY)))
    assert decide(mesh).target.place == Place("ollama", "mine")


# Cold: loads.


def test_a_cold_model_that_fits_is_loaded():
    decision = decide(a_mesh(den=an_inventory(LLAMA)))
    assert isinstance(decision, Load)
    assert (where(decision), decision.unload) == ("den", ())
    assert 4 * GIB < decision.reserved_bytes < 5 * GIB


def test_a_load_goes_where_it_is_quickest():
    mesh = a_mesh(a=an_inventory(LLAMA), b=an_inventory(LLAMA))
    assert where(decide(speed(mesh, "b", Speed(load_s=1.0)))) == "b"


def test_a_load_goes_where_nothing_has_to_be_unloaded():
    full = an_inventory(LLAMA, warm("qwen", size=6 * GIB), free=GIB)
    assert where(decide(a_mesh(a=full, b=an_inventory(LLAMA)))) == "b"


def test_a_load_does_not_queue_behind_another_one_without_need():
    mesh = a_mesh(a=an_inventory(LLAMA, a_model("qwen"), free=20 * GIB), b=an_inventory(LLAMA))
    assert where(decide(loading(mesh, "a", a_model("qwen")))) == "b"


def test_a_load_goes_where_a_stream_is_idle():
    mesh = a_mesh(a=an_inventory(LLAMA), b=an_inventory(LLAMA))
    assert where(decide(mesh, running={("a", "another"): 4})) == "b"


def test_an_idle_model_makes_room():
    mesh = a_mesh(den=an_inventory(LLAMA, warm("qwen", size=6 * GIB), free=GIB))
    assert decide(mesh).unload == (Place("ollama", "qwen"),)


def test_the_model_that_nobody_wanted_for_longest_makes_room():
    old, new = warm("qwen", size=4 * GIB), warm("phi", size=4 * GIB)
    mesh = a_mesh(den=an_inventory(LLAMA, old, new, free=GIB))
    mesh = beat(reg.measured(mesh, "den", new.digest, Speed(), NOW + 60), "den", NOW + 60)
    assert decide(mesh, now=NOW + 61).unload == (Place("ollama", "qwen"),)


def test_no_more_is_unloaded_than_it_takes():
    small, large = warm("qwen", size=GIB), warm("phi", size=6 * GIB)
    mesh = a_mesh(den=an_inventory(LLAMA, small, large, free=0))
    mesh = beat(reg.measured(mesh, "den", large.digest, Speed(), NOW + 60), "den", NOW + 60)
    assert decide(mesh, now=NOW + 61).unload == (Place("ollama", "phi"),)


def test_a_model_that_runs_never_makes_room():
    mesh = a_mesh(den=an_inventory(LLAMA, warm("qwen", size=6 * GIB), free=GIB))
    assert decide(mesh, running={("den", digest(f"{ord('q') % 16:x}")): 1}) == Wait()


def test_a_model_in_other_memory_makes_no_room():
    mesh = a_mesh(den=an_inventory(LLAMA, warm("qwen", size=6 * GIB, engine="embedded"), free=GIB))
    assert isinstance(refusal(mesh), DoesNotFit)


def test_a_model_of_a_broken_engine_makes_no_room():
    engines = (EngineInfo("ollama", gpus=(0,)), EngineInfo("vllm", fault="hangs", gpus=(0,)))
    inventory = an_inventory(LLAMA, warm("qwen", size=6 * GIB, engine="vllm"), free=GIB, engines=engines)
    assert decide(a_mesh(den=inventory)) == Wait()


def test_what_is_being_unloaded_gets_no_work():
    mesh = loading(
        a_mesh(den=an_inventory(warm(), a_model("qwen"))),
        "den",
        a_model("qwen"),
        unload=[("ollama", LLAMA.name)],
    )
    assert decide(mesh) == Wait()


@pytest.mark.parametrize(
    "inventory",
    [an_inventory(LLAMA, gpus=()), an_inventory(a_model(size=0), free=0)],
    ids=["free memory", "need"],
)
def test_what_is_unknown_is_tried(inventory):
    assert isinstance(decide(a_mesh(den=inventory)), Load)


# Waiting.


def test_requests_share_the_load_that_is_under_way():
    assert decide(loading(a_mesh(den=an_inventory(LLAMA), attic=an_inventory(LLAMA)))).loading == "den"


def test_a_load_that_somebody_else_has_started_is_waited_for():
    mesh = a_mesh(den=an_inventory(a_model(state=ModelState.LOADING)), attic=an_inventory(LLAMA))
    assert decide(mesh) == Wait("den")


def test_a_load_that_is_very_late_is_not_waited_for():
    mesh = loading(a_mesh(den=an_inventory(LLAMA), attic=an_inventory(LLAMA)))
    mesh = beat(beat(mesh, "den", NOW + 100), "attic", NOW + 100)
    assert where(decide(mesh, now=NOW + 100)) == "attic"


def test_those_whom_a_load_cannot_serve_get_another_one():
    mesh = loading(a_mesh(den=an_inventory(LLAMA), attic=an_inventory(LLAMA)))
    assert decide(mesh, waiting={"llama3": 1}).loading == "den"
    assert where(decide(mesh, waiting={"llama3": 4})) == "attic"


def test_a_busy_model_is_waited_for_where_it_is_the_only_one():
    assert decide(a_mesh(den=an_inventory(warm())), running={("den", KEY): 2}) == Wait()


def test_a_busy_model_is_waited_for_while_a_load_takes_longer():
    mesh = speed(a_mesh(den=an_inventory(warm()), attic=an_inventory(LLAMA)), "den", FAST)
    mesh = speed(mesh, "attic", Speed(load_s=30.0))
    assert decide(mesh, running={("den", KEY): 2}) == Wait()


def test_a_quick_load_elsewhere_beats_a_long_wait():
    mesh = speed(a_mesh(den=an_inventory(warm()), attic=an_inventory(LLAMA)), "den", SLOW)
    mesh = speed(mesh, "attic", Speed(load_s=1.0))
    assert where(decide(mesh, running={("den", KEY): 2})) == "attic"


def test_a_spoke_that_has_no_stream_yet_is_waited_for():
    mesh = a_mesh(den=an_inventory(warm()))
    assert decide(mesh, running={("den", "another"): 4}) == Wait()


# Refusals.


def test_a_model_that_fits_nowhere_is_refused_with_numbers():
    mesh = a_mesh(
        den=an_inventory(a_model(size=7 * GIB), free=int(6.45 * GIB)),
        attic=an_inventory(a_model(size=7 * GIB), free=2 * GIB),
    )
    error = refusal(mesh)
    assert isinstance(error, DoesNotFit)
    assert "needs 7.8 GiB of memory, largest free is 6.4 GiB on den" in error.message
    assert error.figures["spoke"] == "den"


def test_a_model_that_fits_once_others_have_ended_is_waited_for():
    mesh = a_mesh(den=an_inventory(LLAMA, a_model("qwen", state=ModelState.LOADING), free=20 * GIB))
    full = loading(mesh, "den", a_model("qwen"), reserved=19 * GIB)
    assert decide(full) == Wait()


def test_an_unknown_model_is_refused():
    assert isinstance(refusal(a_mesh(den=an_inventory(LLAMA)), an_ask("qwen")), UnknownModel)


def test_what_the_model_cannot_do_is_refused_by_name():
    error = refusal(
        a_mesh(den=an_inventory(LLAMA)), an_ask(needs=frozenset({Capability.CHAT, Capability.VISION}))
    )
    assert isinstance(error, Unsupported)
    assert "cannot do vision" in error.message


def test_a_prompt_goes_where_its_context_is_long_enough():
    mesh = a_mesh(a=an_inventory(warm(context=512)), b=an_inventory(warm(context=8192)))
    assert where(decide(mesh, an_ask(prompt_bytes=PROMPT_BYTES_PER_TOKEN_MAX * 600))) == "b"


def test_a_prompt_that_surely_is_too_long_is_refused_with_numbers():
    error = refusal(a_mesh(den=an_inventory(LLAMA)), an_ask(prompt_bytes=PROMPT_BYTES_PER_TOKEN_MAX * 2049))
    assert isinstance(error, ContextTooLong)
    assert error.figures == {"prompt_tokens_min": 2049, "context_tokens": 2048}


def test_a_prompt_that_might_fit_is_not_refused():
    ask = an_ask(prompt_bytes=PROMPT_BYTES_PER_TOKEN_MAX * 2049 - 1)
    assert isinstance(decide(a_mesh(den=an_inventory(LLAMA)), ask), Load)


def test_the_context_counts_that_the_model_was_loaded_with():
    mesh = a_mesh(den=an_inventory(warm(context=8192, loaded=Loaded(1, 512))))
    assert (
        refusal(mesh, an_ask(prompt_bytes=PROMPT_BYTES_PER_TOKEN_MAX * 600)).figures["context_tokens"] == 512
    )


def absent(how):
    mesh = a_mesh(den=an_inventory(warm()))
    return {
        "silent": mesh,
        "lost": reg.lost(mesh, "den", 1),
        "left": reg.left(mesh, "den", 1),
        "draining": beat(mesh, "den", NOW + 120, draining=True),
    }[how]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("silent", "den has been silent for 2 min"),
        ("lost", "den was lost, and last heard 2 min ago"),
        ("left", "den left 2 min ago"),
        ("draining", "den takes no new work"),
    ],
)
def test_a_model_whose_spokes_are_away_is_refused_with_since_when(how, says):
    error = refusal(absent(how), now=NOW + 120)
    assert isinstance(error, NoSpoke)
    assert says in error.message


def test_a_spoke_gets_no_work_from_the_moment_it_is_silent():
    mesh = a_mesh(den=an_inventory(warm()))
    assert isinstance(decide(mesh, now=NOW + SILENCE_S - 0.1), Assign)
    assert decide(mesh, now=NOW + SILENCE_S) == Wait()


def test_a_silent_spoke_is_waited_for_until_its_lease_ends():
    mesh = a_mesh(den=an_inventory(warm()))
    assert decide(mesh, now=NOW + LEASE_S - 0.1) == Wait()
    assert isinstance(refusal(mesh, now=NOW + LEASE_S), NoSpoke)


def test_a_silent_spoke_that_has_failed_the_request_is_not_waited_for():
    mesh = a_mesh(den=an_inventory(warm()))
    error = refusal(mesh, an_ask(excluded=frozenset({"den"})), now=NOW + SILENCE_S)
    assert isinstance(error, NoSpoke)


def test_only_a_few_absent_spokes_are_named():
    mesh = a_mesh(**{f"s{n}": an_inventory(warm()) for n in range(5)})
    assert "and 2 more" in refusal(mesh, now=NOW + LEASE_S).message


def test_a_spoke_that_has_failed_the_request_is_not_tried_again():
    mesh = a_mesh(a=an_inventory(warm()), b=an_inventory(warm()))
    assert where(decide(mesh, an_ask(excluded=frozenset({"a"})))) == "b"
    error = refusal(mesh, an_ask(excluded=frozenset({"a", "b"})))
    assert isinstance(error, NoSpoke)
    assert "has tried this request already" in error.message


def test_an_engine_that_is_broken_is_passed_over():
    broken = an_inventory(warm(), engines=(EngineInfo("ollama", fault="no driver", gpus=(0,)),))
    assert where(decide(a_mesh(a=broken, b=an_inventory(warm())))) == "b"
    error = refusal(a_mesh(a=broken))
    assert isinstance(error, EngineUnavailable)
    assert "no driver" in error.message


def failed(mesh, name="den"):
    return reg.load_ended(
        loading(mesh, name), name, 1, Place("ollama", LLAMA.name), error=LoadFailed("bad magic"), now=NOW
    )


def test_a_load_that_failed_is_tried_elsewhere():
    assert where(decide(failed(a_mesh(den=an_inventory(LLAMA), attic=an_inventory(LLAMA))))) == "attic"


def test_a_load_that_failed_everywhere_is_refused_with_its_reason():
    error = refusal(failed(a_mesh(den=an_inventory(LLAMA))))
    assert isinstance(error, LoadFailed)
    assert "on den: bad magic" in error.message


def test_a_load_that_failed_is_tried_again_after_a_while():
    mesh = beat(failed(a_mesh(den=an_inventory(LLAMA))), "den", NOW + LOAD_RETRY_S)
    assert isinstance(decide(mesh, now=NOW + LOAD_RETRY_S), Load)


def test_a_spoke_that_comes_back_is_used_again():
    mesh = reg.lost(a_mesh(den=an_inventory(warm())), "den", 1)
    assert isinstance(decide(joined(mesh, "den", an_inventory(warm()), session=2)), Assign)


# Unloading by hand.


def test_what_is_unloaded_by_hand_gets_no_work_until_that_has_ended():
    loaded = a_model(state=ModelState.LOADED)
    begun = reg.unload_started(
        a_mesh(den=an_inventory(loaded)), "den", place := Place(loaded.engine, loaded.name)
    )
    session = begun.spokes["den"].session
    assert isinstance(decide(begun), Wait)
    assert where(decide(reg.unload_ended(begun, "den", session, place))) == "den"
    assert reg.lost(begun, "den", session).spokes["den"].unloads == frozenset()
