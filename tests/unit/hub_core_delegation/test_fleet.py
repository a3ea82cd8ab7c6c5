from hub.core.delegation.accepts import REVIEWS_MIN, Accepts, Kind, reviewed
from hub.core.delegation.fleet import candidates, fleet_of, is_able, spread
from hub.core.estimator import DECODE_TOKENS_PER_S
from hub.core.registry import LEASE_S
from hub.core.types import Speed
from hubspoke.types import Capability, EngineInfo, ModelKey
from tests.unit.hub_core.machines import (
    CPU,
    GPU,
    NOW,
    a_mesh,
    a_model,
    an_inventory,
    calm,
    digest,
    joined,
    warm,
)
from tests.unit.hub_core_delegation.workshop import BIG, MIDDLE, SMALL

B = 10**9
LARGE = warm("large:70b", slots=1, parameters=70 * B, digest=digest("1"))
EIGHT = warm("mid:8b", slots=2, parameters=8 * B, digest=digest("2"))
ONE = warm("mini:1b", slots=1, parameters=B, digest=digest("3"))
BIG_KEY, EIGHT_KEY, ONE_KEY = (ModelKey(model.digest) for model in (LARGE, EIGHT, ONE))


def fleet(mesh, accepts=None, now=NOW, running=None):
    return fleet_of(mesh, calm(mesh, running or {}), BIG_KEY, accepts or Accepts(), now)


def failed(key: ModelKey, task: str) -> Accepts:
    accepts = Accepts()
    for _ in range(REVIEWS_MIN):
        accepts = reviewed(accepts, Kind(key, task), accepted=False, now=NOW)
    return accepts


def models_of(lanes) -> list[ModelKey]:
    return [lane.model for lane in lanes]


MESH = a_mesh(attic=an_inventory(LARGE), den=an_inventory(EIGHT), loft=an_inventory(ONE))


def test_small_models_read_and_larger_ones_do_the_rest():
    found = fleet(MESH)
    assert found.big.model == BIG_KEY
    assert models_of(found.readers) == [EIGHT_KEY, EIGHT_KEY, ONE_KEY]
    assert models_of(found.workers) == [EIGHT_KEY, EIGHT_KEY]


def test_without_the_big_model_there_is_no_fleet():
    assert fleet(a_mesh(den=an_inventory(EIGHT))) is None
    assert fleet(MESH, now=NOW + LEASE_S) is None


def test_a_busy_slot_is_not_lent():
    assert models_of(fleet(MESH, running={("den", EIGHT_KEY): 1}).workers) == [EIGHT_KEY]


def test_the_slots_of_a_spoke_share_its_speed():
    speed = {EIGHT_KEY: Speed(decode_tokens_per_s=40.0, prefill_tokens_per_s=1_000.0)}
    mesh = joined(a_mesh(attic=an_inventory(LARGE)), "den", an_inventory(EIGHT), speeds=speed)
    assert [lane.speed.decode_tokens_per_s for lane in fleet(mesh).workers] == [20.0, 20.0]
    alone = fleet(mesh, running={("den", EIGHT_KEY): 1}).workers
    assert [lane.speed.decode_tokens_per_s for lane in alone] == [40.0]


def test_what_was_not_measured_is_as_fast_as_usual():
    assert fleet(MESH).readers[-1].speed.decode_tokens_per_s == DECODE_TOKENS_PER_S


def test_a_spoke_lends_what_it_has_in_memory_and_then_the_largest():
    cold = a_model("cold:13b", parameters=13 * B, digest=digest("4"))
    mesh = a_mesh(attic=an_inventory(LARGE), den=an_inventory(cold, ONE, EIGHT))
    assert set(models_of(fleet(mesh).readers)) == {EIGHT_KEY}
    assert {lane.ready_s for lane in fleet(mesh).readers} == {0.0}
    only_cold = fleet(a_mesh(attic=an_inventory(LARGE), den=an_inventory(cold)))
    assert all(lane.ready_s > 0 for lane in only_cold.readers)


def test_who_failed_at_a_task_is_not_asked_for_it():
    assert models_of(fleet(MESH, failed(EIGHT_KEY, "extract")).readers) == [ONE_KEY]
    assert models_of(fleet(MESH, failed(EIGHT_KEY, "extract")).workers) == [EIGHT_KEY, EIGHT_KEY]


def test_the_big_model_helps_itself_from_another_spoke():
    mesh = a_mesh(attic=an_inventory(LARGE), den=an_inventory(LARGE))
    assert models_of(fleet(mesh).workers) == [BIG_KEY]
    assert fleet(a_mesh(attic=an_inventory(LARGE))).workers == ()


def test_what_is_larger_than_the_big_model_does_not_help_it():
    huge = warm("huge:400b", parameters=400 * B, digest=digest("5"))
    assert fleet(a_mesh(attic=an_inventory(LARGE), den=an_inventory(huge))).readers == ()


def test_what_cannot_chat_or_has_no_engine_does_not_help():
    vectors = warm("vectors", parameters=B, capabilities=frozenset({Capability.EMBED}))
    ill = an_inventory(ONE, engines=(EngineInfo(GPU.name, fault="it is down", gpus=(0,)), CPU))
    assert fleet(a_mesh(attic=an_inventory(LARGE), den=an_inventory(vectors), loft=ill)).readers == ()


def test_candidates_are_the_models_that_may_help_the_smallest_first():
    mesh = a_mesh(attic=an_inventory(LARGE, ONE), den=an_inventory(EIGHT), loft=an_inventory(ONE, EIGHT))
    assert [one.model.name for one in candidates(mesh, BIG_KEY, NOW)] == ["mini:1b", "mid:8b"]


def test_any_model_extracts_and_only_large_ones_reason():
    assert is_able(ONE, "extract", LARGE)
    assert not is_able(ONE, "reason", LARGE)
    assert is_able(EIGHT, "reason", LARGE)
    assert is_able(a_model("mystery"), "reason", LARGE)


def test_beside_a_tiny_model_a_third_of_it_is_enough():
    tiny = a_model("tiny", parameters=837_376)
    assert is_able(a_model("nano", parameters=357_504), "reason", tiny)
    assert not is_able(a_model("grain", parameters=100_000), "reason", tiny)


def test_faster_models_get_more_of_the_work():
    work = [(1_000, 100)] * 12
    shares = spread(work, [BIG, MIDDLE, SMALL])
    assert shares.count(BIG.model) < shares.count(MIDDLE.model) < shares.count(SMALL.model)
    assert len(shares) == len(work)
