import pytest

from hub.core import registry as reg
from hub.core.registry import LEASE_S, LOAD_RETRY_S, LOAD_S_MAX, MODELS_PER_SPOKE_MAX, SILENCE_S
from hub.core.types import Registry, Speed
from hubspoke.errors import EngineTimeout, InvalidRequest, LoadFailed, SessionReplaced
from hubspoke.types import EngineInfo, Place, SpokeState
from tests.unit.hub_core.machines import GIB, NOW, a_load, a_mesh, a_model, an_inventory, beat, joined, warm

COLD = a_model()
PLACE = Place("ollama", COLD.name)
DEN = a_mesh(den=an_inventory(COLD))
LOADING = reg.load_started(DEN, a_load("den", COLD), NOW)


def den(registry):
    return registry.spokes["den"]


def ended(registry, error=None, now=NOW + 5):
    return reg.load_ended(registry, "den", 1, PLACE, error=error, now=now)


def test_a_new_spoke_is_ready_for_one_lease():
    assert (den(DEN).state, den(DEN).lease_ends_at) == (SpokeState.READY, NOW + LEASE_S)


def test_a_newer_session_takes_over():
    newer = joined(DEN, "den", an_inventory(), session=2, now=NOW + 1)
    assert (den(newer).session, den(newer).inventory.models) == (2, ())


@pytest.mark.parametrize("session", [0, 1])
def test_an_older_session_does_not_take_over(session):
    with pytest.raises(SessionReplaced):
        joined(DEN, "den", an_inventory(), session=session)


@pytest.mark.parametrize(("name", "session"), [("den", 2), ("den", 0), ("attic", 1)])
def test_a_beat_of_a_session_that_is_not_known_is_refused(name, session):
    with pytest.raises(SessionReplaced):
        beat(DEN, name, NOW, session=session)


def test_a_beat_renews_the_lease():
    assert den(beat(DEN, "den", NOW + 2)).lease_ends_at == NOW + 2 + LEASE_S


def test_a_beat_without_an_inventory_changes_none():
    assert den(beat(DEN, "den", NOW + 2)).inventory is den(DEN).inventory


def test_a_spoke_says_when_it_wants_no_more_work():
    assert den(beat(DEN, "den", NOW, draining=True)).state is SpokeState.DRAINING


def test_silence_begins_on_time():
    assert reg.swept(DEN, NOW + SILENCE_S - 0.1) == (DEN, ())
    silent, lost = reg.swept(DEN, NOW + SILENCE_S)
    assert (den(silent).state, lost) == (SpokeState.SILENT, ())


def test_a_silent_spoke_is_not_ready_even_before_a_sweep():
    assert reg.is_ready(den(DEN), NOW + SILENCE_S - 0.1)
    assert not reg.is_ready(den(DEN), NOW + SILENCE_S)


def test_a_beat_ends_the_silence():
    silent, _ = reg.swept(DEN, NOW + SILENCE_S)
    assert den(beat(silent, "den", NOW + 4)).state is SpokeState.READY


def test_a_lease_ends_on_time():
    assert reg.swept(DEN, NOW + LEASE_S - 0.1)[1] == ()
    after, lost = reg.swept(DEN, NOW + LEASE_S)
    assert ([spoke.id for spoke in lost], den(after).state) == (["den"], SpokeState.LOST)


def test_a_spoke_is_lost_only_once():
    after, _ = reg.swept(DEN, NOW + LEASE_S)
    assert reg.swept(after, NOW + 2 * LEASE_S) == (after, ())


def test_a_draining_spoke_can_be_lost_too():
    assert reg.swept(beat(DEN, "den", NOW, draining=True), NOW + LEASE_S)[1]


def test_a_goodbye_is_told_apart_from_a_loss():
    gone = reg.left(DEN, "den", 1)
    assert den(gone).state is SpokeState.LEFT
    assert reg.lost(gone, "den", 1) is gone
    assert den(reg.lost(DEN, "den", 1)).state is SpokeState.LOST


@pytest.mark.parametrize("end", [reg.left, reg.lost])
def test_the_end_of_an_older_session_does_not_touch_the_new_one(end):
    newer = joined(DEN, "den", an_inventory(), session=2)
    assert end(newer, "den", 1) is newer


@pytest.mark.parametrize("end", [reg.left, reg.lost])
def test_a_session_that_has_ended_does_not_beat(end):
    with pytest.raises(SessionReplaced):
        beat(end(DEN, "den", 1), "den", NOW + 1)


@pytest.mark.parametrize("end", [reg.left, reg.lost])
def test_what_was_promised_to_loads_ends_with_the_session(end):
    assert not den(end(LOADING, "den", 1)).loads


def test_spokes_that_are_gone_longest_are_forgotten_first(monkeypatch):
    monkeypatch.setattr(reg, "SPOKES_LISTED_MAX", 3)
    registry = Registry()
    for at, name in enumerate("abc"):
        registry = joined(registry, name, an_inventory(), now=NOW + at)
    registry = reg.lost(reg.left(registry, "b", 1), "a", 1)
    assert set(joined(registry, "d", an_inventory()).spokes) == {"b", "c", "d"}


def test_spokes_in_session_are_never_forgotten(monkeypatch):
    monkeypatch.setattr(reg, "SPOKES_LISTED_MAX", 1)
    assert set(a_mesh(a=an_inventory(), b=an_inventory()).spokes) == {"a", "b"}


def test_memory_is_promised_until_the_load_ends():
    assert den(LOADING).loads[PLACE].reserved_bytes == 4 * GIB
    assert not den(ended(LOADING)).loads


def test_memory_is_promised_until_the_model_is_there():
    assert not den(beat(LOADING, "den", NOW + 2, inventory=an_inventory(warm()))).loads


def test_an_inventory_without_the_model_in_memory_leaves_the_load_alone():
    assert den(beat(LOADING, "den", NOW + 2, inventory=an_inventory(COLD, free=GIB))).loads


def test_a_failed_load_is_remembered_for_a_while():
    failed = den(ended(LOADING, LoadFailed("no"), NOW + 5)).failed_loads[PLACE]
    assert (failed.error.reason, failed.retry_at) == ("load_failed", NOW + 5 + LOAD_RETRY_S)


def test_a_failed_load_is_remembered_over_sessions():
    failed = ended(LOADING, LoadFailed("no"), NOW)
    again = joined(failed, "den", an_inventory(COLD), session=2, now=NOW + 1)
    assert PLACE in den(again).failed_loads


@pytest.mark.parametrize(
    ("inventory", "now"),
    [(an_inventory(COLD), NOW + LOAD_RETRY_S), (an_inventory(warm()), NOW), (an_inventory(), NOW)],
    ids=["after a while", "once it is loaded", "once it is gone"],
)
def test_a_failed_load_is_forgotten(inventory, now):
    failed = ended(LOADING, LoadFailed("no"), NOW)
    assert not den(beat(failed, "den", now, inventory=inventory)).failed_loads


def test_a_load_that_works_ends_the_memory_of_a_failure():
    failed = ended(LOADING, LoadFailed("no"))
    assert not den(ended(reg.load_started(failed, a_load("den", COLD), NOW + 6))).failed_loads


def test_a_load_that_takes_too_long_has_failed():
    alive = beat(LOADING, "den", NOW + LOAD_S_MAX)
    after, lost = reg.swept(alive, NOW + LOAD_S_MAX)
    assert (lost, dict(den(after).loads)) == ((), {})
    assert isinstance(den(after).failed_loads[PLACE].error, EngineTimeout)


def test_a_load_that_takes_its_time_goes_on():
    assert den(reg.swept(beat(LOADING, "den", NOW + 60), NOW + 60)[0]).loads


def test_a_result_for_an_ended_session_is_refused():
    with pytest.raises(SessionReplaced):
        ended(reg.lost(LOADING, "den", 1))


def test_what_was_measured_is_kept_with_the_time():
    key = COLD.key("den")
    noted = den(reg.measured(DEN, "den", key, Speed(load_s=3.0), NOW + 9))
    assert (noted.speeds[key].load_s, noted.used_at[key]) == (3.0, NOW + 9)


@pytest.mark.parametrize(("name", "key"), [("attic", COLD.digest), ("den", "sha256:other")])
def test_a_measurement_of_what_is_not_there_is_left_out(name, key):
    assert reg.measured(DEN, name, key, Speed(), NOW) is DEN


def test_an_inventory_that_comes_later_is_checked_too():
    with pytest.raises(InvalidRequest):
        beat(DEN, "den", NOW, inventory=an_inventory(COLD, COLD))


@pytest.mark.parametrize(
    ("inventory", "says"),
    [
        (an_inventory(COLD, COLD), "twice"),
        (an_inventory(engines=(EngineInfo("a"), EngineInfo("a"))), "engine twice"),
        (an_inventory(a_model(engine="vllm")), "'vllm'"),
        (an_inventory(*(a_model(f"m{n}") for n in range(MODELS_PER_SPOKE_MAX + 1))), "at most"),
    ],
    ids=["a model twice", "an engine twice", "an unknown engine", "too many models"],
)
def test_an_inventory_that_makes_no_sense_is_refused(inventory, says):
    with pytest.raises(InvalidRequest, match=says):
        joined(Registry(), "den", inventory)


def test_the_same_name_in_two_engines_is_no_nonsense():
    reg.check_inventory(an_inventory(COLD, a_model(engine="embedded")))
