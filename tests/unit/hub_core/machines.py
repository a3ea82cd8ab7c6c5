"""Spokes, models and requests to decide about, with as little said as a test needs."""

from __future__ import annotations

from types import MappingProxyType

from hub.core import registry as reg
from hub.core.types import Ask, Load, Registry, Target, Traffic
from hubspoke.types import (
    Capability,
    EngineInfo,
    Gpu,
    GpuKind,
    HostMemory,
    Inventory,
    Loaded,
    LoadPlan,
    Model,
    ModelState,
    Place,
    Priority,
    SpokeId,
)

GIB = 1 << 30
NOW = 1_000.0
GPU = EngineInfo("ollama", gpus=(0,))
CPU = EngineInfo("embedded")


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


def a_model(
    name="llama3:latest", state=ModelState.COLD, *, slots=2, context=2048, size=4 * GIB, **given
) -> Model:
    """A model of the engine `ollama`, its digest made of the first letter of its name."""
    loaded = Loaded(slots=slots, context_tokens=context) if state is ModelState.LOADED else None
    given = {
        "engine": "ollama",
        "digest": digest(f"{ord(name[0]) % 16:x}"),
        "kv_bytes_per_token": 1024,
    } | given
    return Model(
        name=name,
        size_bytes=size,
        plan=LoadPlan(slots=slots, context_tokens=context),
        state=state,
        loaded=given.pop("loaded", loaded),
        **given,
    )


def warm(name="llama3:latest", **given) -> Model:
    return a_model(name, ModelState.LOADED, **given)


def an_inventory(
    *models: Model, free=8 * GIB, engines=(GPU, CPU), gpus=None, available=16 * GIB
) -> Inventory:
    """A machine with one card and two engines: `ollama` on the card, `embedded` in main memory."""
    card = Gpu(0, GpuKind.CUDA, "RTX 3060", memory_total_bytes=12 * GIB, memory_free_bytes=free)
    return Inventory(
        memory=HostMemory(32 * GIB, available),
        gpus=(card,) if gpus is None else gpus,
        engines=engines,
        models=models,
    )


def joined(registry: Registry, name: str, inventory: Inventory, *, session=1, slots=4, now=NOW, speeds=None):
    return reg.registered(
        registry,
        SpokeId(name),
        session=session,
        inventory=inventory,
        slots=slots,
        agent_version="1",
        speeds=speeds or {},
        now=now,
    )


def a_mesh(**spokes: Inventory) -> Registry:
    """A registry of spokes that have just registered."""
    registry = Registry()
    for name, inventory in spokes.items():
        registry = joined(registry, name, inventory)
    return registry


def beat(registry: Registry, name: str, now: float, *, session=1, inventory=None, draining=False) -> Registry:
    return reg.beat(registry, SpokeId(name), session, inventory=inventory, draining=draining, now=now)


def calm(registry: Registry, running=MappingProxyType({}), waiting=MappingProxyType({})) -> Traffic:
    """Every slot of every spoke is idle, but for what is *running* by spoke and model."""
    busy = dict.fromkeys(registry.spokes, 0)
    for (name, _), count in running.items():
        busy[name] += count
    idle = {name: spoke.slots - busy[name] for name, spoke in registry.spokes.items()}
    return Traffic(idle, running, waiting)


def an_ask(model="llama3", *, needs=frozenset({Capability.CHAT}), prompt_bytes=400, **given) -> Ask:
    given = {"max_output_tokens": 0, "priority": Priority.INTERACTIVE, "arrived_at": NOW} | given
    return Ask(model, needs, prompt_bytes, **given)


def a_load(name: str, model: Model, reserved=4 * GIB, unload=()) -> Load:
    spoke, place = SpokeId(name), Place(model.engine, model.name)
    target = Target(spoke, place, model.key(spoke), model.digest, model.plan.context_tokens)
    return Load(target, reserved, tuple(unload))
