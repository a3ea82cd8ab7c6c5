"""What the hub tells about its spokes and their models."""

from __future__ import annotations

from hubspoke.api.admin.v1 import admin_pb2 as admin
from hubspoke.api.inference.v1 import inference_pb2 as inference
from hubspoke.types import MemoryPool, ModelKey, ModelSummary, Replica, SpokeId, SpokeStatus
from hubspoke.wire import enums, inventory, times


def summary_to_wire(summary: ModelSummary) -> inference.ModelSummary:
    """Give a model of the mesh as a message."""
    return inference.ModelSummary(
        key=summary.key,
        names=summary.names,
        size_bytes=summary.size_bytes,
        family=summary.family,
        quantisation=summary.quantisation,
        context_tokens_max=summary.context_tokens_max,
        capabilities=sorted(enums.CAPABILITY.to_wire(capability) for capability in summary.capabilities),
        replicas=[_replica_to_wire(replica) for replica in summary.replicas],
    )


def summary_from_wire(message: inference.ModelSummary) -> ModelSummary:
    """Give a message as a model of the mesh."""
    return ModelSummary(
        key=ModelKey(message.key),
        names=tuple(message.names),
        size_bytes=message.size_bytes,
        family=message.family,
        quantisation=message.quantisation,
        context_tokens_max=message.context_tokens_max,
        capabilities=enums.CAPABILITY.known(list(message.capabilities)),
        replicas=tuple(_replica_from_wire(replica) for replica in message.replicas),
    )


def spoke_to_wire(spoke: SpokeStatus) -> admin.SpokeStatus:
    """Give a spoke, as the hub sees it, as a message."""
    return admin.SpokeStatus(
        name=spoke.name,
        state=enums.SPOKE_STATE.to_wire(spoke.state),
        agent_version=spoke.agent_version,
        registered_at=times.timestamp(spoke.registered_at),
        last_seen_at=times.timestamp(spoke.last_seen_at),
        slots=spoke.slots,
        busy=spoke.busy,
        inventory=inventory.to_wire(spoke.inventory),
        reserved_bytes=spoke.reserved_bytes,
        pools=[_pool_to_wire(pool) for pool in spoke.pools],
    )


def spoke_from_wire(message: admin.SpokeStatus) -> SpokeStatus:
    """Give a message as a spoke."""
    return SpokeStatus(
        name=SpokeId(message.name),
        state=enums.SPOKE_STATE.from_wire(message.state),
        agent_version=message.agent_version,
        registered_at=times.moment(message.registered_at, "registered_at"),
        last_seen_at=times.moment(message.last_seen_at, "last_seen_at"),
        slots=message.slots,
        busy=message.busy,
        inventory=inventory.from_wire(message.inventory),
        reserved_bytes=message.reserved_bytes,
        pools=tuple(_pool_from_wire(pool) for pool in message.pools),
    )


def _pool_to_wire(pool: MemoryPool) -> admin.MemoryPool:
    return admin.MemoryPool(
        gpus=pool.gpus,
        total_bytes=pool.total_bytes,
        free_bytes=pool.free_bytes,
        reserved_bytes=pool.reserved_bytes,
        observed_bytes=pool.observed_bytes,
    )


def _pool_from_wire(message: admin.MemoryPool) -> MemoryPool:
    return MemoryPool(
        gpus=tuple(message.gpus),
        total_bytes=message.total_bytes if message.HasField("total_bytes") else None,
        free_bytes=message.free_bytes if message.HasField("free_bytes") else None,
        reserved_bytes=message.reserved_bytes,
        observed_bytes=message.observed_bytes,
    )


def _replica_to_wire(replica: Replica) -> inference.Replica:
    return inference.Replica(
        spoke=replica.spoke,
        state=enums.MODEL_STATE.to_wire(replica.state),
        slots=replica.slots,
        busy=replica.busy,
        decode_tokens_per_second=replica.decode_tokens_per_s,
        load_time=times.duration_or_none(replica.load_s),
        engine=replica.engine,
        context_tokens=replica.context_tokens,
        memory_bytes=replica.memory_bytes,
        vram_bytes=replica.vram_bytes,
        pinned=replica.pinned,
        used_at=None if replica.used_at is None else times.timestamp(replica.used_at),
    )


def _replica_from_wire(message: inference.Replica) -> Replica:
    known = message.HasField
    return Replica(
        spoke=SpokeId(message.spoke),
        state=enums.MODEL_STATE.from_wire(message.state),
        slots=message.slots,
        busy=message.busy,
        decode_tokens_per_s=message.decode_tokens_per_second if known("decode_tokens_per_second") else None,
        load_s=times.seconds(message.load_time) if known("load_time") else None,
        engine=message.engine,
        context_tokens=message.context_tokens,
        memory_bytes=message.memory_bytes,
        vram_bytes=message.vram_bytes if known("vram_bytes") else None,
        pinned=message.pinned,
        used_at=times.moment(message.used_at, "used_at") if known("used_at") else None,
    )
