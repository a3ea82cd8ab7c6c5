"""What the spoke has: put together from what was found, and compared so that nothing is said twice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from hubspoke.types import Inventory, Place
from spoke.core.cards import still

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hubspoke.types import EngineInfo, Gpu, GpuProcess, HostMemory, Loaded, Model

# Free memory and load move all the time; smaller changes than these would be news in every beat.
MEMORY_STEP_BYTES: Final = 64 * 1024 * 1024
UTILISATION_STEP_PERCENT: Final = 10
TEMPERATURE_STEP_CELSIUS: Final = 5


@dataclass(frozen=True, slots=True)
class EngineReport:
    """An engine, and the models that it has; none while it has a fault."""

    info: EngineInfo
    models: tuple[Model, ...] = ()


def compose(
    memory: HostMemory,
    gpus: Iterable[Gpu],
    reports: Iterable[EngineReport],
    only: frozenset[str] = frozenset(),
) -> Inventory:
    """Put together what was found, in an order that does not depend on who answered first.

    When *only* names models, others are left out.
    """
    ordered = sorted(reports, key=lambda report: report.info.name)
    models = (model for report in ordered for model in sorted(report.models, key=lambda model: model.name))
    return Inventory(
        memory=memory,
        gpus=tuple(sorted(gpus, key=lambda gpu: gpu.index)),
        engines=tuple(report.info for report in ordered),
        models=tuple(model for model in models if not only or model.name in only),
    )


def find(inventory: Inventory, place: Place) -> Model | None:
    """Give the model at *place*, if it is there."""
    return next((m for m in inventory.models if (m.engine, m.name) == place), None)


def is_news(now: Inventory, told: Inventory) -> bool:
    """Whether *now* differs from what the hub was *told* by enough to say so with the next beat."""
    return _settled(now, told) != told


def is_urgent(now: Inventory, told: Inventory) -> bool:
    """Whether something came, went, loaded or broke, so that the hub should hear of it at once."""
    return _lasting(now) != _lasting(told)


def _settled(now: Inventory, told: Inventory) -> Inventory:
    """Give *now* with the figures that were *told*, where they have moved by less than a step."""
    gpus = {gpu.index: gpu for gpu in told.gpus}
    models = {Place(model.engine, model.name): model.loaded for model in told.models}
    available_bytes = _near(now.memory.available_bytes, told.memory.available_bytes, MEMORY_STEP_BYTES)
    return replace(
        now,
        memory=replace(now.memory, available_bytes=available_bytes),
        gpus=tuple(_settled_gpu(gpu, gpus.get(gpu.index, gpu)) for gpu in now.gpus),
        models=tuple(
            _settled_model(model, models.get(Place(model.engine, model.name))) for model in now.models
        ),
    )


def _settled_gpu(now: Gpu, told: Gpu) -> Gpu:
    return replace(
        now,
        memory_free_bytes=_near_if_known(now.memory_free_bytes, told.memory_free_bytes, MEMORY_STEP_BYTES),
        memory_used_bytes=_near_if_known(now.memory_used_bytes, told.memory_used_bytes, MEMORY_STEP_BYTES),
        utilisation_percent=_near_if_known(
            now.utilisation_percent, told.utilisation_percent, UTILISATION_STEP_PERCENT
        ),
        temperature_celsius=_near_if_known(
            now.temperature_celsius, told.temperature_celsius, TEMPERATURE_STEP_CELSIUS
        ),
        processes=told.processes if _are_near(now.processes, told.processes) else now.processes,
    )


def _settled_model(now: Model, told: Loaded | None) -> Model:
    if now.loaded is None or told is None:
        return now
    loaded = replace(
        now.loaded,
        memory_bytes=_near(now.loaded.memory_bytes, told.memory_bytes, MEMORY_STEP_BYTES),
        vram_bytes=_near_if_known(now.loaded.vram_bytes, told.vram_bytes, MEMORY_STEP_BYTES),
    )
    return replace(now, loaded=loaded)


def _are_near(now: Iterable[GpuProcess], told: Iterable[GpuProcess]) -> bool:
    """Whether no process came, went or changed by a step: a desktop has many small ones that come and go."""
    ours, theirs = ({one.pid: one.memory_bytes or 0 for one in processes} for processes in (now, told))
    changes = (abs(ours.get(pid, 0) - theirs.get(pid, 0)) for pid in ours.keys() | theirs.keys())
    return all(change < MEMORY_STEP_BYTES for change in changes)


def _near(now: int, told: int, step: int) -> int:
    """Give what was *told* while *now* is less than a *step* away: rounding would tell of each crossing of a mark."""
    return told if abs(now - told) < step else now


def _near_if_known(now: int | None, told: int | None, step: int) -> int | None:
    return now if now is None or told is None else _near(now, told, step)


def _lasting(inventory: Inventory) -> Inventory:
    return replace(
        inventory,
        memory=replace(inventory.memory, available_bytes=0),
        gpus=tuple(still(gpu) for gpu in inventory.gpus),
        models=tuple(_lasting_model(model) for model in inventory.models),
    )


def _lasting_model(model: Model) -> Model:
    if model.loaded is None:
        return model
    return replace(model, loaded=replace(model.loaded, memory_bytes=0, vram_bytes=None))
