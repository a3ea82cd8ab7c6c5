"""What the spoke has: put together from what was found, and compared so that nothing is said twice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from hubspoke.types import Inventory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hubspoke.types import EngineInfo, Gpu, HostMemory, Model, Place

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
    return _stepped(now) != _stepped(told)


def is_urgent(now: Inventory, told: Inventory) -> bool:
    """Whether something came, went, loaded or broke, so that the hub should hear of it at once."""
    return _lasting(now) != _lasting(told)


def _stepped(inventory: Inventory) -> Inventory:
    return replace(
        inventory,
        memory=replace(
            inventory.memory, available_bytes=inventory.memory.available_bytes // MEMORY_STEP_BYTES
        ),
        gpus=tuple(
            replace(
                gpu,
                memory_free_bytes=_steps(gpu.memory_free_bytes, MEMORY_STEP_BYTES),
                utilisation_percent=_steps(gpu.utilisation_percent, UTILISATION_STEP_PERCENT),
                temperature_celsius=_steps(gpu.temperature_celsius, TEMPERATURE_STEP_CELSIUS),
            )
            for gpu in inventory.gpus
        ),
    )


def _steps(value: int | None, step: int) -> int | None:
    return None if value is None else value // step


def _lasting(inventory: Inventory) -> Inventory:
    return replace(
        inventory,
        memory=replace(inventory.memory, available_bytes=0),
        gpus=tuple(
            replace(gpu, memory_free_bytes=None, utilisation_percent=None, temperature_celsius=None)
            for gpu in inventory.gpus
        ),
    )
