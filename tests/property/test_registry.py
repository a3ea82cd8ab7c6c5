"""Whatever spokes do and in whatever order, the registry says of each what it did last."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hub.core import registry as reg
from hub.core import vram
from hub.core.registry import LEASE_S, SILENCE_S
from hub.core.scheduler import choose
from hub.core.types import IN_SESSION, Assign, Load, Registry
from hubspoke.errors import LoadFailed, SessionReplaced
from hubspoke.types import ModelState, SpokeState
from tests.unit.hub_core.machines import CPU, GIB, GPU, NOW, a_model, an_ask, an_inventory, calm, joined

NAMES = st.sampled_from(["attic", "cellar", "den"])
MODELS = ("llama3", "phi", "qwen")


@st.composite
def inventories(draw):
    """A machine with some of the models, in any state, and any amount of memory, or one that is not told."""
    states = st.none() | st.sampled_from(list(ModelState))
    chosen = [(name, draw(states)) for name in MODELS]
    models = tuple(
        a_model(name, state, size=draw(st.integers(0, 9)) * GIB) for name, state in chosen if state
    )
    inventory = an_inventory(*models, free=draw(st.integers(0, 12)) * GIB)
    return draw(st.sampled_from([inventory, an_inventory(*models, gpus=())]))


class Spokes(RuleBasedStateMachine):
    """Three spokes that come, beat, load, leave and break, and a clock."""

    def __init__(self):
        super().__init__()
        self.registry = Registry()
        self.now = NOW
        self.sessions: dict[str, int] = {}
        self.ends: dict[str, SpokeState] = {}
        self.heard: dict[str, float] = {}

    @rule(name=NAMES, inventory=inventories())
    def register(self, name, inventory):
        session = self.sessions.get(name, 0) + 1
        self.registry = joined(self.registry, name, inventory, session=session, now=self.now)
        self.sessions[name] = session
        self.ends.pop(name, None)
        self.heard[name] = self.now

    @rule(name=NAMES, back=st.integers(0, 2), inventory=st.none() | inventories(), draining=st.booleans())
    def beat(self, name, back, inventory, draining):
        session = self.sessions.get(name, 0) - back
        try:
            self.registry = reg.beat(
                self.registry, name, session, inventory=inventory, draining=draining, now=self.now
            )
        except SessionReplaced:
            assert back or name in self.ends or name not in self.sessions
        else:
            assert not back
            assert name not in self.ends
            self.heard[name] = self.now

    @rule(name=NAMES, back=st.integers(0, 1), end=st.sampled_from([SpokeState.LEFT, SpokeState.LOST]))
    def end(self, name, back, end):
        session = self.sessions.get(name, 0) - back
        ended = reg.left if end is SpokeState.LEFT else reg.lost
        self.registry = ended(self.registry, name, session)
        if name in self.sessions and not back:
            self.ends.setdefault(name, end)

    @rule(seconds=st.sampled_from([0.5, SILENCE_S, LEASE_S]))
    def pass_time(self, seconds):
        self.now += seconds
        self.registry, lost = reg.swept(self.registry, self.now)
        over = {name for name, at in self.heard.items() if self.now - at >= LEASE_S and name not in self.ends}
        assert {spoke.id for spoke in lost} == over
        self.ends.update(dict.fromkeys(over, SpokeState.LOST))

    @rule(model=st.sampled_from(MODELS), excluded=st.frozensets(NAMES))
    def ask(self, model, excluded):
        ask = an_ask(model, excluded=excluded)
        decision = choose(ask, self.registry, calm(self.registry), self.now)
        if isinstance(decision, Assign | Load):
            spoke = self.registry.spokes[decision.target.spoke]
            assert spoke.id not in excluded
            assert reg.is_ready(spoke, self.now)
        if isinstance(decision, Load):
            self.registry = reg.load_started(self.registry, decision, self.now)
            self.check_that_promises_can_be_kept(decision)

    @rule(name=NAMES, works=st.booleans())
    def end_a_load(self, name, works):
        spoke = self.registry.spokes.get(name)
        if spoke is not None and spoke.loads:
            error = None if works else LoadFailed("no")
            self.registry = reg.load_ended(
                self.registry, name, spoke.session, next(iter(spoke.loads)), error=error, now=self.now
            )

    def check_that_promises_can_be_kept(self, load):
        """No more is promised than is free, or comes free by what is unloaded; unless nobody knows."""
        spoke = self.registry.spokes[load.target.spoke]
        if load.reserved_bytes and spoke.inventory.gpus:
            leaving = vram.unloading(spoke)
            freed = sum(
                vram.occupied_bytes(spoke.inventory, model)
                for model in spoke.inventory.models
                if (model.engine, model.name) in leaving
            )
            free = spoke.inventory.gpus[0].memory_free_bytes
            assert vram.reserved_bytes(spoke, GPU) <= free + freed

    @invariant()
    def every_spoke_is_what_it_did_last(self):
        assert {name: spoke.session for name, spoke in self.registry.spokes.items()} == self.sessions
        for name, spoke in self.registry.spokes.items():
            assert (spoke.state not in IN_SESSION) is (name in self.ends)
            assert spoke.state is self.ends.get(name, spoke.state)
            assert not reg.is_ready(spoke, self.heard[name] + SILENCE_S)

    @invariant()
    def only_spokes_in_session_owe_loads(self):
        assert not any(spoke.loads for name, spoke in self.registry.spokes.items() if name in self.ends)

    @invariant()
    def memory_of_another_pool_is_never_promised(self):
        assert all(not vram.reserved_bytes(spoke, CPU) for spoke in self.registry.spokes.values())


TestSpokes = Spokes.TestCase
TestSpokes.settings = settings(max_examples=50, stateful_step_count=40)
