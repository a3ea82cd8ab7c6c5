"""How a model gets into memory that somebody wants there."""

from hub.core import registry as reg
from hub.core.catalogue import Holding
from hub.core.registry import LOAD_RETRY_S
from hub.core.scheduler import bring, ordered
from hub.core.types import Load, Refuse, Wait
from hubspoke.errors import DoesNotFit, LoadFailed, UnknownModel
from hubspoke.types import ModelState
from tests.unit.hub_core.machines import (
    GIB,
    NOW,
    a_load,
    a_mesh,
    a_model,
    an_ask,
    an_inventory,
    calm,
    warm,
)

LLAMA = a_model()
ASK = an_ask(needs=frozenset(), prompt_bytes=0)


def brought(mesh, *, only=None, running=None, now=NOW):
    return bring(ASK, mesh, calm(mesh, running or {}), now, only=only)


def test_a_model_that_is_there_is_found_though_all_its_slots_are_busy():
    mesh = a_mesh(den=an_inventory(warm()))
    found = brought(mesh, running={("den", warm().digest): 2})
    assert isinstance(found, Holding)
    assert found.spoke.id == "den"


def test_a_cold_one_is_loaded_where_somebody_wants_it():
    mesh = a_mesh(den=an_inventory(warm()), attic=an_inventory(LLAMA))
    load = brought(mesh, only="attic")
    assert isinstance(load, Load)
    assert load.target.spoke == "attic"


def test_a_load_that_is_under_way_is_waited_for_with_its_times():
    mesh = reg.load_started(a_mesh(den=an_inventory(LLAMA)), a_load("den", LLAMA), NOW - 3)
    wait = brought(mesh)
    assert (wait.loading, wait.since) == ("den", NOW - 3)
    assert wait.expected_s > 1


def test_a_load_that_the_spoke_has_begun_itself_has_no_times():
    assert brought(a_mesh(den=an_inventory(a_model(state=ModelState.LOADING)))) == Wait("den")


def test_what_waits_for_a_load_that_was_just_ordered_waits_as_others_do():
    mesh = a_mesh(den=an_inventory(LLAMA))
    load = brought(mesh)
    begun = reg.load_started(mesh, load, NOW)
    assert ordered(load, begun) == brought(begun)


def test_a_spoke_that_does_not_have_it_is_told():
    mesh = a_mesh(den=an_inventory(LLAMA), attic=an_inventory())
    refused = brought(mesh, only="attic")
    assert isinstance(refused.error, UnknownModel)
    assert "attic" in refused.error.message


def test_what_fits_nowhere_is_refused_with_numbers():
    refused = brought(a_mesh(den=an_inventory(a_model(size=40 * GIB))))
    assert isinstance(refused.error, DoesNotFit)
    assert "GiB" in refused.error.message


def test_a_load_that_failed_is_told_with_its_reason_until_it_may_be_tried_again():
    mesh = reg.load_started(a_mesh(den=an_inventory(LLAMA)), a_load("den", LLAMA), NOW)
    place = a_load("den", LLAMA).target.place
    mesh = reg.load_ended(mesh, "den", 1, place, error=LoadFailed("damaged"), now=NOW)
    refused = brought(mesh)
    assert isinstance(refused, Refuse)
    assert "damaged" in refused.error.message
    mesh = reg.beat(mesh, "den", 1, inventory=None, draining=False, now=NOW + LOAD_RETRY_S)
    assert isinstance(brought(mesh, now=NOW + LOAD_RETRY_S), Load)


# Pins.


def pinned(mesh, model):
    return reg.pinned(mesh, "den", model.digest, pinned=True)


def test_a_pinned_model_is_not_unloaded_for_another():
    big, small = a_model("big", size=6 * GIB), warm("small", size=4 * GIB)
    mesh = a_mesh(den=an_inventory(big, small, free=3 * GIB))
    ask = an_ask("big")
    assert bring(ask, mesh, calm(mesh), NOW).unload == (("ollama", "small"),)
    refused = bring(ask, pinned(mesh, small), calm(mesh), NOW)
    assert isinstance(refused.error, DoesNotFit)


def test_a_pin_outlives_the_session_and_goes_when_it_is_taken_back():
    mesh = pinned(a_mesh(den=an_inventory(warm())), warm())
    again = reg.registered(
        mesh,
        "den",
        session=2,
        inventory=an_inventory(warm()),
        slots=4,
        agent_version="1",
        speeds={},
        now=NOW,
    )
    assert again.spokes["den"].pinned == {warm().digest}
    assert reg.pinned(again, "den", warm().digest, pinned=False).spokes["den"].pinned == frozenset()


def test_pinning_on_a_spoke_that_nobody_knows_changes_nothing():
    mesh = a_mesh()
    assert reg.pinned(mesh, "den", warm().digest, pinned=True) is mesh
