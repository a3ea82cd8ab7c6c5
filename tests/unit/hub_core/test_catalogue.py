from datetime import UTC, datetime

import pytest

from hub.core import registry as reg
from hub.core.catalogue import models, resolve
from hub.core.types import Registry, Speed
from hubspoke.errors import UnknownModel
from hubspoke.types import Capability, EngineInfo, Loaded, ModelState
from tests.unit.hub_core.machines import (
    NOW,
    a_load,
    a_mesh,
    a_model,
    an_inventory,
    calm,
    digest,
    joined,
    warm,
)

OLD, NEW = digest("a"), digest("b")
LLAMA = a_model("llama3:latest", digest=OLD)


def at(seconds: float) -> datetime:
    """The time of day that the registry's clock stands for."""
    return datetime.fromtimestamp(seconds, UTC)


def named(*digests, name="llama3:latest"):
    """A mesh with one spoke for each digest, all of which call it the same."""
    return a_mesh(**{f"s{n}": an_inventory(a_model(name, digest=d)) for n, d in enumerate(digests)})


@pytest.mark.parametrize("name", ["llama3", "llama3:latest", OLD])
def test_a_model_goes_by_its_name_its_tag_and_its_digest(name):
    assert resolve(a_mesh(den=an_inventory(LLAMA)), name).key == OLD


def test_a_name_without_a_tag_is_found_by_its_latest():
    assert resolve(named(OLD, name="tiny"), "tiny:latest").key == OLD


def test_a_registry_with_a_port_is_no_tag():
    assert resolve(named(OLD, name="box:5000/llama3:latest"), "box:5000/llama3").key == OLD


@pytest.mark.parametrize("name", ["den/ollama/llama3", "den/ollama/llama3:latest", "llama3"])
def test_a_model_without_a_digest_has_a_key_of_its_own(name):
    mesh = a_mesh(den=an_inventory(a_model(digest="")))
    assert resolve(mesh, name).key == "den/ollama/llama3:latest"


def test_models_without_a_digest_are_never_the_same():
    assert len(resolve(named("", ""), "llama3").also_named) == 1


def test_the_most_replicated_of_a_name_is_taken():
    assert resolve(named(OLD, NEW, NEW), "llama3") == (NEW, (OLD,))


def test_the_one_loaded_more_often_is_taken_of_equals():
    mesh = a_mesh(a=an_inventory(LLAMA), b=an_inventory(warm(digest=NEW)))
    assert resolve(mesh, "llama3") == (NEW, (OLD,))


def test_the_first_key_is_taken_of_what_is_equal_in_all():
    assert resolve(named(NEW, OLD), "llama3") == (OLD, (NEW,))


def test_spokes_that_are_gone_do_not_count():
    mesh = reg.lost(reg.left(named(OLD, NEW, NEW), "s1", 1), "s2", 1)
    assert resolve(mesh, "llama3") == (OLD, ())


def test_a_model_that_only_lost_spokes_have_is_still_known():
    assert resolve(reg.lost(named(OLD), "s0", 1), "llama3").key == OLD


@pytest.mark.parametrize(
    ("inventories", "says"),
    [
        ((), "no spoke has 'llma3', or any other model"),
        ((LLAMA,), "did you mean 'llama3:latest'?"),
        ((a_model("qwen"), a_model("phi")), "there is 'phi', 'qwen'$"),
        (
            tuple(a_model(f"x{n}") for n in range(5)),
            "'x0', 'x1', 'x2' and 2 more, which `hubspoke models` lists",
        ),
    ],
    ids=["none", "a near miss", "few", "many"],
)
def test_an_unknown_name_is_answered_with_what_there_is(inventories, says):
    with pytest.raises(UnknownModel, match=says.replace("?", r"\?")):
        resolve(a_mesh(den=an_inventory(*inventories)), "llma3")


def test_an_engine_that_is_down_may_be_why_a_name_is_unknown():
    down = an_inventory(engines=(EngineInfo("ollama", fault="refused"),))
    with pytest.raises(UnknownModel, match="Engine 'ollama' of den is down"):
        resolve(a_mesh(den=down), "llama3")


def test_models_are_listed_once_with_all_their_names_and_replicas():
    mesh = a_mesh(
        den=an_inventory(warm("llama3:latest", digest=OLD), a_model("mine", digest=OLD, engine="embedded")),
        attic=an_inventory(LLAMA, a_model("qwen", capabilities=frozenset({Capability.EMBED}))),
    )
    mesh = reg.measured(mesh, "den", OLD, Speed(decode_tokens_per_s=40.0, load_s=2.0), NOW)
    first, second = models(mesh, calm(mesh, {("den", OLD): 1}), at)
    assert (first.key, first.names) == (OLD, ("llama3:latest", "mine"))
    assert [(r.spoke, r.state, r.slots, r.busy) for r in first.replicas] == [
        ("attic", ModelState.COLD, 0, 0),
        ("den", ModelState.LOADED, 2, 1),
    ]
    assert (first.replicas[1].decode_tokens_per_s, first.replicas[1].load_s) == (40.0, 2.0)
    assert [(r.engine, r.context_tokens, r.used_at) for r in first.replicas] == [
        ("ollama", 0, None),
        ("ollama", 2048, at(NOW)),
    ]
    assert (second.names, second.capabilities) == (("qwen",), {Capability.EMBED})


def test_a_model_on_its_way_into_memory_is_shown_so():
    mesh = reg.load_started(a_mesh(den=an_inventory(LLAMA)), a_load("den", LLAMA), NOW)
    (llama,) = models(mesh, calm(mesh), at)
    assert llama.replicas[0].state is ModelState.LOADING


def test_models_of_spokes_that_are_gone_are_not_listed():
    mesh = joined(reg.left(named(OLD), "s0", 1), "den", an_inventory())
    assert models(mesh, calm(mesh), at) == ()


def test_an_empty_mesh_has_no_models():
    assert models(Registry(), calm(Registry()), at) == ()


def test_a_replica_says_what_it_takes_up_and_whether_it_is_pinned():
    mesh = a_mesh(den=an_inventory(warm(digest=OLD, loaded=Loaded(2, 2048, 5 << 30, 3 << 30))))
    mesh = reg.pinned(mesh, "den", OLD, pinned=True)
    ((replica,),) = (model.replicas for model in models(mesh, calm(mesh), at))
    assert (replica.memory_bytes, replica.vram_bytes, replica.pinned) == (5 << 30, 3 << 30, True)
