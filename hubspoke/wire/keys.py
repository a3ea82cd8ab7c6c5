"""API keys on the wire. Their secrets cross it once."""

from __future__ import annotations

from hubspoke.api.keys.v1 import keys_pb2 as pb
from hubspoke.types import IssuedKey, KeyInfo, KeyPlan, KeyUsage
from hubspoke.wire import enums, times
from hubspoke.wire.requests import priority_from_wire


def plan_to_wire(plan: KeyPlan) -> pb.CreateKeyRequest:
    """Give what a new key may do as a message."""
    return pb.CreateKeyRequest(
        name=plan.name,
        models=plan.models,
        requests_per_minute=plan.requests_per_minute,
        tokens_per_day=plan.tokens_per_day,
        priority=enums.PRIORITY.to_wire(plan.priority),
        scopes=sorted(plan.scopes),
    )


def plan_from_wire(message: pb.CreateKeyRequest | pb.ApiKey) -> KeyPlan:
    """Give a message as what a key may do; whether that makes sense is the hub's to say."""
    return KeyPlan(
        name=message.name,
        models=tuple(message.models),
        requests_per_minute=message.requests_per_minute if message.HasField("requests_per_minute") else None,
        tokens_per_day=message.tokens_per_day if message.HasField("tokens_per_day") else None,
        priority=priority_from_wire(message.priority),
        scopes=frozenset(message.scopes),
    )


def info_to_wire(info: KeyInfo) -> pb.ApiKey:
    """Give a key as a message."""
    plan = info.plan
    return pb.ApiKey(
        id=info.id,
        name=plan.name,
        models=plan.models,
        requests_per_minute=plan.requests_per_minute,
        tokens_per_day=plan.tokens_per_day,
        priority=enums.PRIORITY.to_wire(plan.priority),
        scopes=sorted(plan.scopes),
        created_at=times.timestamp(info.created_at),
        revoked_at=None if info.revoked_at is None else times.timestamp(info.revoked_at),
        usage=[_usage_to_wire(usage) for usage in info.usage],
    )


def info_from_wire(message: pb.ApiKey) -> KeyInfo:
    """Give a message as a key."""
    return KeyInfo(
        id=message.id,
        plan=plan_from_wire(message),
        created_at=times.moment(message.created_at, "created_at"),
        revoked_at=times.moment(message.revoked_at, "revoked_at") if message.HasField("revoked_at") else None,
        usage=tuple(_usage_from_wire(usage) for usage in message.usage),
    )


def issued_to_wire(issued: IssuedKey) -> pb.CreateKeyResponse:
    """Give a new key with its secret as a message."""
    return pb.CreateKeyResponse(secret=issued.secret, key=info_to_wire(issued.info))


def issued_from_wire(message: pb.CreateKeyResponse) -> IssuedKey:
    """Give a message as a new key with its secret."""
    return IssuedKey(message.secret, info_from_wire(message.key))


def _usage_to_wire(usage: KeyUsage) -> pb.KeyUsage:
    return pb.KeyUsage(
        day=times.timestamp(usage.day),
        model=usage.model,
        requests=usage.requests,
        prompt_tokens=usage.prompt_tokens,
        output_tokens=usage.output_tokens,
    )


def _usage_from_wire(message: pb.KeyUsage) -> KeyUsage:
    return KeyUsage(
        day=times.moment(message.day, "day"),
        model=message.model,
        requests=message.requests,
        prompt_tokens=message.prompt_tokens,
        output_tokens=message.output_tokens,
    )
