"""Whatever the mesh looks like, a decision can be carried out, and no slot idles while somebody waits for it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hub.core import estimator, vram
from hub.core import registry as reg
from hub.core.catalogue import resolve
from hub.core.registry import LEASE_S, is_ready
from hub.core.scheduler import choose
from hub.core.types import Assign, Load, Refuse, Registry, Speed, Traffic
from hubspoke.errors import LoadFailed, UnknownModel
from hubspoke.types import Capability, Loaded, ModelState, Usage
from tests.unit.hub_core.machines import (
    CPU,
    GIB,
    GPU,
    NOW,
    a_load,
    a_model,
    an_ask,
    an_inventory,
    digest,
    joined,
)

SPOKES = ("attic", "cellar", "den", "loft")
RATES = st.none() | st.floats(0.5, 500.0)
SPEEDS = st.builds(Speed, RATES, RATES, st.none() | st.floats(0.0, 300.0))
NO_TOOLS = frozenset({Capability.CHAT})
ALL = frozenset({Capability.CHAT, Capability.TOOLS})


SELDOM = st.sampled_from([False] * 7 + [True])


@st.composite
def models(draw, name):
    return a_model(
        name,
        draw(st.sampled_from([ModelState.COLD, ModelState.LOADING, ModelState.LOADED, ModelState.LOADED])),
        slots=draw(st.integers(1, 3)),
        context=256 if draw(SELDOM) else 2048,
        size=draw(st.integers(0, 9)) * GIB,
        engine=draw(st.sampled_from([GPU.name, CPU.name])),
        digest=draw(st.sampled_from([digest("a"), digest("a"), digest("b"), ""])),
        capabilities=NO_TOOLS if draw(SELDOM) else ALL,
    )


@st.composite
def registries(draw):
    """Up to four spokes in any shape: silent, lost, loading, or with a broken engine."""
    registry = Registry()
    for spoke in draw(st.lists(st.sampled_from(SPOKES), min_size=1, unique=True)):
        held = [draw(models("llama3")), *draw(st.lists(models("mine"), max_size=1))]
        engines = (replace(GPU, fault="broken" if draw(SELDOM) else ""), CPU)
        inventory = an_inventory(*held, free=draw(st.integers(0, 12)) * GIB, engines=engines)
        heard_at = NOW - LEASE_S / 2 if draw(SELDOM) else NOW
        speeds = {model.key(spoke): draw(SPEEDS) for model in held}
        slots = draw(st.integers(1, 3))
        registry = joined(registry, spoke, inventory, slots=slots, now=heard_at, speeds=speeds)
        for model in held:
            if model.state is ModelState.COLD and draw(SELDOM):
                others = [(other.engine, other.name) for other in held if other is not model]
                load = a_load(spoke, model, GIB, others if draw(st.booleans()) else ())
                registry = reg.load_started(registry, load, heard_at)
        if draw(SELDOM):
            registry = reg.lost(registry, spoke, 1)
    return registry


@st.composite
def questions(draw):
    registry = draw(registries())
    idle, running = {}, {}
    for name, spoke in registry.spokes.items():
        running |= {(name, key): draw(st.integers(0, 3)) for key in spoke.catalogue.by_key}
        idle[name] = draw(st.integers(0, spoke.slots))
    ask = an_ask(
        draw(st.sampled_from(["llama3", "llama3", "mine", digest("a")])),
        needs=ALL if draw(SELDOM) else NO_TOOLS,
        prompt_bytes=20_000 if draw(SELDOM) else 400,
        excluded=draw(st.frozensets(st.sampled_from(SPOKES), max_size=1)),
    )
    return ask, registry, Traffic(idle, running, {"llama3": draw(st.integers(0, 50))})


def can_begin(ask, registry, traffic, now=NOW):
    """Say on which spokes *ask* could run at once, reckoned in another way than the scheduler does."""
    try:
        key = resolve(registry, ask.model).key
    except UnknownModel:
        return set()
    return {
        name
        for name, spoke in registry.spokes.items()
        for model in spoke.inventory.models
        for engine in spoke.inventory.engines
        if is_ready(spoke, now)
        and name not in ask.excluded
        and traffic.idle[name]
        and (model.key(name), model.engine, engine.fault) == (key, engine.name, "")
        and ask.needs <= model.capabilities
        and model.loaded is not None
        and ask.prompt_bytes // 32 <= model.loaded.context_tokens
        and traffic.running.get((name, key), 0) < model.loaded.slots
        and (model.engine, model.name) not in vram.unloading(spoke)
    }


@given(questions(), st.randoms(use_true_random=False))
def test_the_order_of_the_spokes_does_not_matter(question, random):
    ask, registry, traffic = question
    names = list(registry.spokes)
    random.shuffle(names)
    shuffled = Registry({name: registry.spokes[name] for name in names})
    one, other = (choose(ask, mesh, traffic, NOW) for mesh in (registry, shuffled))
    if isinstance(one, Refuse):
        assert (type(one.error), str(one.error)) == (type(other.error), str(other.error))
    else:
        assert one == other


@settings(max_examples=300)
@given(questions())
def test_work_begins_exactly_where_it_can(question):
    ask, registry, traffic = question
    able = can_begin(ask, registry, traffic)
    decision = choose(ask, registry, traffic, NOW)
    assert isinstance(decision, Assign) is bool(able)
    if able:
        assert decision.target.spoke in able


TIMES = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.builds(Usage, st.integers(0, 1 << 32), st.integers(0, 1 << 32), st.none(), TIMES, TIMES)))
def test_whatever_a_spoke_claims_estimates_stay_finite(usages):
    speed = Speed()
    for usage in usages:
        speed = estimator.measured(speed, usage)
    seconds = estimator.run_s(an_ask(prompt_bytes=1 << 24), speed)
    assert 0 <= seconds < math.inf
    assert 0 <= estimator.wait_s([(1, seconds), (4, 0.0)], 256) < math.inf


@given(SPEEDS, st.integers(0, 1 << 24), st.integers(0, 1 << 20), st.integers(0, 255), st.integers(1, 64))
def test_more_work_never_takes_less_time(speed, prompt_bytes, output, ahead, slots):
    def run_s(prompt, limit):
        return estimator.run_s(an_ask(prompt_bytes=prompt, max_output_tokens=limit), speed)

    seconds = run_s(prompt_bytes, output + 1)
    assert seconds <= run_s(prompt_bytes + 1, output + 1)
    assert seconds <= run_s(prompt_bytes, output + 2)
    assert estimator.wait_s([(slots, seconds)], ahead) <= estimator.wait_s([(slots, seconds)], ahead + 1)
    assert estimator.wait_s([(slots + 1, seconds)], ahead) <= estimator.wait_s([(slots, seconds)], ahead)


class Mesh(RuleBasedStateMachine):
    """Two machines with true memory, requests that come and end, and loads that work or fail."""

    NAMES = ("llama3", "phi", "qwen")

    def __init__(self):
        super().__init__()
        self.registry = Registry()
        self.now = NOW
        self.loaded = {spoke: set() for spoke in ("attic", "den")}
        self.card = {"attic": 6 * GIB, "den": 12 * GIB}
        self.running: Counter[tuple[str, str]] = Counter()
        self.queue = []
        for spoke in self.loaded:
            self.registry = joined(self.registry, spoke, self.inventory(spoke), slots=3)

    def model(self, name, spoke):
        model = a_model(name, size=(3 + self.NAMES.index(name)) * GIB)
        if name not in self.loaded[spoke]:
            return model
        taken = Loaded(2, 2048, vram_bytes=vram.needed_bytes(model))
        return replace(model, state=ModelState.LOADED, loaded=taken)

    def inventory(self, spoke):
        held = tuple(self.model(name, spoke) for name in self.NAMES)
        taken = sum(model.loaded.vram_bytes for model in held if model.loaded)
        assert taken <= self.card[spoke], "a load was promised memory that was not there"
        return an_inventory(*held, free=self.card[spoke] - taken)

    def pump(self):
        """Decide on everybody who waits, and do it."""
        waiting: Counter[str] = Counter()
        for ask in tuple(self.queue):
            match choose(ask, self.registry, self.traffic(waiting), self.now):
                case Assign(target):
                    self.running[target.spoke, target.key] += 1
                    self.queue.remove(ask)
                case Load(target, _, unload) as load:
                    assert not any(self.running[target.spoke, self.key(place.model)] for place in unload)
                    self.registry = reg.load_started(self.registry, load, self.now)
                case Refuse():
                    self.queue.remove(ask)
            if ask in self.queue:
                waiting[ask.model] += 1

    def traffic(self, waiting=None):
        busy = Counter()
        for (spoke, _), count in self.running.items():
            busy[spoke] += count
        return Traffic({spoke: 3 - busy[spoke] for spoke in self.loaded}, self.running, waiting or {})

    def key(self, name):
        return a_model(name).digest

    @rule(name=st.sampled_from(NAMES))
    def ask(self, name):
        self.queue.append(an_ask(name, arrived_at=self.now))
        self.pump()

    @precondition(lambda self: self.running.total())
    @rule(data=st.data())
    def end_a_request(self, data):
        place = data.draw(st.sampled_from(sorted(self.running.elements())))
        self.running[place] -= 1
        self.pump()

    @precondition(lambda self: any(spoke.loads for spoke in self.registry.spokes.values()))
    @rule(works=st.booleans())
    def end_a_load(self, works):
        spoke = next(spoke for spoke in self.registry.spokes.values() if spoke.loads)
        place, load = next(iter(spoke.loads.items()))
        self.loaded[spoke.id] -= {victim.model for victim in load.unload}
        if works:
            self.loaded[spoke.id].add(place.model)
        self.beat(spoke.id)
        self.registry = reg.load_ended(
            self.registry, spoke.id, 1, place, error=None if works else LoadFailed("no"), now=self.now
        )
        self.pump()

    @rule(seconds=st.sampled_from([1.0, 40.0]))
    def pass_time(self, seconds):
        self.now += seconds
        for spoke in self.loaded:
            self.beat(spoke)
        self.pump()

    def beat(self, spoke):
        self.registry = reg.beat(
            self.registry, spoke, 1, inventory=self.inventory(spoke), draining=False, now=self.now
        )

    @invariant()
    def no_more_runs_than_there_are_slots(self):
        assert all(count <= 2 for count in self.running.values())
        assert all(idle >= 0 for idle in self.traffic().idle.values())

    @invariant()
    def only_what_is_loaded_runs(self):
        for (spoke, key), count in self.running.items():
            assert not count or key in {self.key(name) for name in self.loaded[spoke]}

    @invariant()
    def nobody_waits_for_a_slot_that_is_free(self):
        assert not any(can_begin(ask, self.registry, self.traffic(), self.now) for ask in self.queue)

    def teardown(self):
        """Everybody is served in the end, as soon as what runs ends and what loads is loaded."""
        for _ in range(1_000):
            if not self.queue:
                return
            self.running.clear()
            if any(spoke.loads for spoke in self.registry.spokes.values()):
                self.end_a_load(works=True)
            self.pass_time(1.0)
        raise AssertionError("somebody waits for ever")


TestMesh = Mesh.TestCase
TestMesh.settings = settings(max_examples=50, stateful_step_count=40)
