"""Inventories: what a spoke says it has. Every field of a message from outside is checked here, once."""

from __future__ import annotations

import re
from typing import Final

from hubspoke.api.types.v1 import types_pb2 as pb
from hubspoke.errors import InvalidRequest
from hubspoke.types import (
    EngineInfo,
    Gpu,
    GpuProcess,
    HostMemory,
    Inventory,
    Loaded,
    LoadPlan,
    Model,
    ModelState,
)
from hubspoke.wire import enums

NAME_BYTES_MAX: Final = 256
FAULT_CHARS_MAX: Final = 1_000
GPUS_MAX: Final = 64
PROCESSES_MAX: Final = 64
"""Of one card."""
ENGINES_MAX: Final = 16
MODELS_MAX: Final = 2_000
SLOTS_MAX: Final = 256
CONTEXT_TOKENS_MAX: Final = 1 << 27
BYTES_MAX: Final = 1 << 50

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def to_wire(inventory: Inventory) -> pb.Inventory:
    """Give an inventory as a message."""
    return pb.Inventory(
        gpus=[_gpu_to_wire(gpu) for gpu in inventory.gpus],
        memory=pb.HostMemory(
            total_bytes=inventory.memory.total_bytes, available_bytes=inventory.memory.available_bytes
        ),
        engines=[
            pb.Engine(
                name=engine.name,
                version=engine.version,
                fault=_shown(engine.fault),
                gpus=engine.gpus,
                pulls=engine.pulls,
            )
            for engine in inventory.engines
        ],
        models=[_model_to_wire(model) for model in inventory.models],
    )


def from_wire(message: pb.Inventory) -> Inventory:
    """Check a message and give it as an inventory; raise InvalidRequest that names the field."""
    if not message.HasField("memory"):
        raise InvalidRequest("inventory.memory is missing")
    for what, items, most in (
        ("gpus", message.gpus, GPUS_MAX),
        ("engines", message.engines, ENGINES_MAX),
        ("models", message.models, MODELS_MAX),
    ):
        if len(items) > most:
            raise InvalidRequest(f"inventory.{what} has {len(items)} entries; at most {most} are taken")
    return Inventory(
        memory=HostMemory(
            total_bytes=_bounded("memory.total_bytes", message.memory.total_bytes, BYTES_MAX),
            available_bytes=_bounded("memory.available_bytes", message.memory.available_bytes, BYTES_MAX),
        ),
        gpus=tuple(_gpu_from_wire(gpu) for gpu in message.gpus),
        engines=tuple(_engine_from_wire(engine) for engine in message.engines),
        models=tuple(_model_from_wire(model) for model in message.models),
    )


def _gpu_to_wire(gpu: Gpu) -> pb.Gpu:
    return pb.Gpu(
        index=gpu.index,
        kind=enums.GPU_KIND.to_wire(gpu.kind),
        name=gpu.name,
        uuid=gpu.uuid,
        memory_total_bytes=gpu.memory_total_bytes,
        memory_free_bytes=gpu.memory_free_bytes,
        utilisation_percent=gpu.utilisation_percent,
        temperature_celsius=gpu.temperature_celsius,
        fault=_shown(gpu.fault),
        memory_used_bytes=gpu.memory_used_bytes,
        processes=[
            pb.GpuProcess(pid=process.pid, memory_bytes=process.memory_bytes)
            for process in gpu.processes[:PROCESSES_MAX]
        ],
    )


def _gpu_from_wire(message: pb.Gpu) -> Gpu:
    def maybe(field: str, value: int) -> int | None:
        return value if message.HasField(field) else None  # type: ignore[arg-type]  # the names are literals below

    return Gpu(
        index=message.index,
        kind=enums.GPU_KIND.from_wire(message.kind),
        name=_text("gpu.name", message.name),
        uuid=_text("gpu.uuid", message.uuid, required=False),
        memory_total_bytes=maybe("memory_total_bytes", message.memory_total_bytes),
        memory_free_bytes=maybe("memory_free_bytes", message.memory_free_bytes),
        utilisation_percent=maybe("utilisation_percent", message.utilisation_percent),
        temperature_celsius=maybe("temperature_celsius", message.temperature_celsius),
        fault=_shown(message.fault),
        memory_used_bytes=maybe("memory_used_bytes", message.memory_used_bytes),
        processes=tuple(_process_from_wire(process) for process in message.processes[:PROCESSES_MAX]),
    )


def _process_from_wire(message: pb.GpuProcess) -> GpuProcess:
    return GpuProcess(message.pid, message.memory_bytes if message.HasField("memory_bytes") else None)


def _engine_from_wire(message: pb.Engine) -> EngineInfo:
    return EngineInfo(
        name=_text("engine.name", message.name),
        version=_text("engine.version", message.version, required=False),
        fault=_shown(message.fault),
        gpus=tuple(message.gpus[:GPUS_MAX]),
        pulls=message.pulls,
    )


def _model_to_wire(model: Model) -> pb.Model:
    loaded = model.loaded
    return pb.Model(
        engine=model.engine,
        name=model.name,
        digest=model.digest,
        size_bytes=model.size_bytes,
        family=model.family,
        quantisation=model.quantisation,
        parameters=model.parameters,
        context_tokens_max=model.context_tokens_max,
        kv_bytes_per_token=model.kv_bytes_per_token,
        capabilities=sorted(enums.CAPABILITY.to_wire(capability) for capability in model.capabilities),
        state=enums.MODEL_STATE.to_wire(model.state),
        plan=pb.LoadPlan(slots=model.plan.slots, context_tokens=model.plan.context_tokens),
        loaded=None if loaded is None else _loaded_to_wire(loaded),
    )


def _loaded_to_wire(loaded: Loaded) -> pb.Loaded:
    return pb.Loaded(
        slots=loaded.slots,
        context_tokens=loaded.context_tokens,
        memory_bytes=loaded.memory_bytes,
        vram_bytes=loaded.vram_bytes,
    )


def _model_from_wire(message: pb.Model) -> Model:
    state = enums.MODEL_STATE.from_wire(message.state)
    if (state is ModelState.LOADED) is not message.HasField("loaded"):
        raise InvalidRequest("model.loaded must be there exactly when model.state is LOADED")
    if message.digest and not _DIGEST.fullmatch(message.digest):
        raise InvalidRequest("model.digest must be 'sha256:' and 64 lower-case hex digits, or empty")
    capabilities = enums.CAPABILITY.known(list(message.capabilities))
    if not capabilities:
        raise InvalidRequest("model.capabilities must hold at least one that this version knows")
    return Model(
        engine=_text("model.engine", message.engine),
        name=_text("model.name", message.name),
        digest=message.digest,
        size_bytes=_bounded("model.size_bytes", message.size_bytes, BYTES_MAX),
        family=_text("model.family", message.family, required=False),
        quantisation=_text("model.quantisation", message.quantisation, required=False),
        parameters=message.parameters,
        context_tokens_max=_bounded(
            "model.context_tokens_max", message.context_tokens_max, CONTEXT_TOKENS_MAX
        ),
        kv_bytes_per_token=_bounded("model.kv_bytes_per_token", message.kv_bytes_per_token, BYTES_MAX),
        capabilities=capabilities,
        plan=LoadPlan(
            slots=_positive("model.plan.slots", message.plan.slots, SLOTS_MAX),
            context_tokens=_positive(
                "model.plan.context_tokens", message.plan.context_tokens, CONTEXT_TOKENS_MAX
            ),
        ),
        state=state,
        loaded=_loaded_from_wire(message.loaded) if message.HasField("loaded") else None,
    )


def _loaded_from_wire(message: pb.Loaded) -> Loaded:
    return Loaded(
        slots=_positive("model.loaded.slots", message.slots, SLOTS_MAX),
        context_tokens=_positive("model.loaded.context_tokens", message.context_tokens, CONTEXT_TOKENS_MAX),
        memory_bytes=_bounded("model.loaded.memory_bytes", message.memory_bytes, BYTES_MAX),
        vram_bytes=message.vram_bytes if message.HasField("vram_bytes") else None,
    )


def _text(field: str, value: str, *, required: bool = True) -> str:
    if required and not value:
        raise InvalidRequest(f"{field} is missing")
    if len(value.encode()) > NAME_BYTES_MAX:
        raise InvalidRequest(f"{field} is longer than {NAME_BYTES_MAX} bytes")
    if not value.isprintable():
        raise InvalidRequest(f"{field} holds characters that cannot be printed")
    return value


def _shown(text: str) -> str:
    """Make free text fit for a terminal and a log: short, and without escape sequences."""
    return "".join(sign if sign.isprintable() else "?" for sign in text[:FAULT_CHARS_MAX])


def _bounded(field: str, value: int, most: int) -> int:
    if value > most:
        raise InvalidRequest(f"{field} is {value}; at most {most} makes sense")
    return value


def _positive(field: str, value: int, most: int) -> int:
    if value < 1:
        raise InvalidRequest(f"{field} must be at least 1")
    return _bounded(field, value, most)
