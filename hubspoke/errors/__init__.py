"""Everything that can go wrong in the mesh, and the one table that maps it to gRPC and HTTP.

MeshError
├── RequestError              the request cannot succeed as it is
│   ├── InvalidRequest            a field is missing, too long or out of range
│   ├── RequestTooLarge           more bytes than a message may have
│   ├── ContextTooLong            more tokens than the model's context holds
│   ├── UnknownModel              no spoke has it
│   ├── Unsupported               the model cannot do what is asked
│   ├── DeadlineExceeded          the deadline passed before the answer was complete
│   ├── LoopDetected              a mesh asks itself
│   ├── RotationRefused           authorities cannot be exchanged like that, or not yet
│   ├── UnknownDelegation         no delegation of that id
│   ├── RequestIdTaken            the request id came with other content before
│   ├── WrongState                the delegation stands in another way
│   ├── BudgetSpent               the delegation's tokens are used up
│   ├── NotAcceptable             what models made was refused too often
│   ├── Poisonous                 the work takes down whoever does it
│   └── Cancelled                 whoever asked went away
├── CapacityError             the mesh cannot take it now
│   ├── QueueFull                 too many requests wait already
│   ├── DoesNotFit                no spoke has the memory; the message gives the numbers
│   ├── ModelLoading              the model is on its way into memory
│   ├── NoOrchestrator            no model that may plan and review
│   └── NoSpoke                   every spoke that has the model is away
├── SpokeError                the spoke or its engine failed
│   ├── SpokeLost                 the spoke went away with the work
│   ├── ClientStalled             whoever asked stopped reading
│   ├── EngineUnavailable         the engine does not answer
│   ├── EngineOverloaded          the engine has no slot free
│   ├── EngineOutOfMemory         the load or the request needs more memory than there is
│   ├── LoadFailed                the engine refused the model
│   ├── EngineCrashed             the engine died on it
│   ├── EngineTruncated           the answer broke off
│   ├── EngineTimeout             the engine took too long
│   ├── InvalidOutput             the answer is not of the form that was asked for
│   └── EngineProtocol            the engine said something that makes no sense
├── SessionError              the spoke and the hub disagree
│   ├── ProtocolViolation         a message that the contract does not allow here
│   ├── SessionReplaced           a newer session of the same spoke took over
│   ├── ModelNotLoaded            the spoke has unloaded it meanwhile
│   ├── SlotTaken                 the slot is busy or was withdrawn
│   ├── TaskConflict              a task has a newer owner, or its key stands for other work
│   ├── Busy                      the model runs and cannot be unloaded
│   └── Draining                  the spoke is leaving
├── AccessError               who asks may not
│   ├── Unauthenticated           no identity that the hub accepts
│   ├── PermissionDenied          the role may not call this
│   ├── AlreadyEnrolled           the name or key is taken
│   ├── UnknownKey                no API key of that name
│   ├── UnknownNode               no node of that name
│   ├── RateLimited               too many tries
│   └── QuotaExceeded             what the key may use is used up
├── Unreachable               no hub answers, seen from here
├── StoreFailed               the hub's database cannot be read or written
└── InternalError             a defect of ours; the request id finds it in the log
"""

from __future__ import annotations

from dataclasses import dataclass

from hubspoke.errors.base import AccessError, CapacityError, MeshError, RequestError, SessionError, SpokeError
from hubspoke.errors.delegations import (
    BudgetSpent,
    NoOrchestrator,
    NotAcceptable,
    Poisonous,
    RequestIdTaken,
    UnknownDelegation,
    WrongState,
)
from hubspoke.errors.sessions import (
    Busy,
    Draining,
    ModelNotLoaded,
    ProtocolViolation,
    SessionReplaced,
    SlotTaken,
    TaskConflict,
)

__all__ = [
    "RETRYABLE", "STATUS", "AccessError", "AlreadyEnrolled", "BudgetSpent", "Busy", "Cancelled",
    "CapacityError", "ClientStalled", "ContextTooLong", "DeadlineExceeded", "DoesNotFit", "Draining",
    "EngineCrashed", "EngineOutOfMemory", "EngineOverloaded", "EngineProtocol", "EngineTimeout",
    "EngineTruncated", "EngineUnavailable", "InternalError", "InvalidOutput", "InvalidRequest",
    "LoadFailed", "LoopDetected", "MeshError", "ModelLoading", "ModelNotLoaded", "NoOrchestrator",
    "NoSpoke", "NotAcceptable", "PermissionDenied", "Poisonous", "ProtocolViolation", "QueueFull",
    "QuotaExceeded", "RateLimited", "RequestError", "RequestIdTaken", "RequestTooLarge",
    "RotationRefused", "SessionError",
    "SessionReplaced", "SlotTaken", "SpokeError", "SpokeLost", "Status", "StoreFailed", "TaskConflict", "Unauthenticated",
    "UnknownDelegation", "UnknownKey", "UnknownModel", "Unreachable", "Unsupported", "WrongState",
    "from_reason", "is_retryable", "status_of",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Status:
    """What an error looks like outside: the name of a gRPC status code, and an HTTP status."""

    grpc: str
    http: int


class InvalidRequest(RequestError):
    """A field is missing, too long or out of range."""

    reason = "invalid_request"


class RequestTooLarge(RequestError):
    """More bytes than a message may have."""

    reason = "request_too_large"


class ContextTooLong(RequestError):
    """More tokens than the model's context holds."""

    reason = "context_too_long"


class UnknownModel(RequestError):
    """No spoke has the model."""

    reason = "unknown_model"


class Unsupported(RequestError):
    """The model cannot do what is asked."""

    reason = "unsupported"


class DeadlineExceeded(RequestError):
    """The deadline passed before the answer was complete."""

    reason = "deadline_exceeded"


class LoopDetected(RequestError):
    """A mesh asks itself, or another mesh that asks it."""

    reason = "loop_detected"


class Cancelled(RequestError):
    """Whoever asked went away."""

    reason = "cancelled"


class QueueFull(CapacityError):
    """Too many requests wait already."""

    reason = "queue_full"


class DoesNotFit(CapacityError):
    """No spoke has the memory; the message gives the numbers."""

    reason = "does_not_fit"


class ModelLoading(CapacityError):
    """The model is on its way into memory; a later try finds it there."""

    reason = "model_loading"


class NoSpoke(CapacityError):
    """Every spoke that has the model is away."""

    reason = "no_spoke"


class SpokeLost(SpokeError):
    """The spoke went away with the work."""

    reason = "spoke_lost"


class ClientStalled(SpokeError):
    """Whoever asked stopped reading the answer."""

    reason = "client_stalled"


class EngineUnavailable(SpokeError):
    """The engine does not answer."""

    reason = "engine_unavailable"


class EngineOverloaded(SpokeError):
    """The engine has no slot free."""

    reason = "engine_overloaded"


class EngineOutOfMemory(SpokeError):
    """The load or the request needs more memory than there is."""

    reason = "engine_out_of_memory"


class LoadFailed(SpokeError):
    """The engine refused the model."""

    reason = "load_failed"


class EngineCrashed(SpokeError):
    """The engine died on it."""

    reason = "engine_crashed"


class EngineTruncated(SpokeError):
    """The answer broke off."""

    reason = "engine_truncated"


class EngineTimeout(SpokeError):
    """The engine took too long."""

    reason = "engine_timeout"


class InvalidOutput(SpokeError):
    """The answer is not of the form that was asked for."""

    reason = "invalid_output"


class RotationRefused(RequestError):
    """An exchange of authorities cannot go on like that, or not yet; nothing has changed."""

    reason = "rotation_refused"


class EngineProtocol(SpokeError):
    """The engine said something that makes no sense."""

    reason = "engine_protocol"


class Unauthenticated(AccessError):
    """No identity that the hub accepts."""

    reason = "unauthenticated"


class PermissionDenied(AccessError):
    """The role may not call this."""

    reason = "permission_denied"


class AlreadyEnrolled(AccessError):
    """The name or the key is taken."""

    reason = "already_enrolled"


class UnknownKey(AccessError):
    """No API key goes by that name or id."""

    reason = "unknown_key"


class UnknownNode(AccessError):
    """No node goes by that name."""

    reason = "unknown_node"


class RateLimited(AccessError):
    """Too many tries."""

    reason = "rate_limited"


class QuotaExceeded(AccessError):
    """What the key may use is used up."""

    reason = "quota_exceeded"


class Unreachable(MeshError):
    """No hub answers, seen from here."""

    reason = "unreachable"


class StoreFailed(MeshError):
    """The hub's database cannot be read or written."""

    reason = "store_failed"


class InternalError(MeshError):
    """A defect of ours; the request id in the message finds it in the hub's log."""

    reason = "internal"


STATUS: dict[type[MeshError], Status] = {
    InvalidRequest: Status("INVALID_ARGUMENT", 400),
    RequestTooLarge: Status("RESOURCE_EXHAUSTED", 413),
    ContextTooLong: Status("INVALID_ARGUMENT", 400),
    UnknownModel: Status("NOT_FOUND", 404),
    Unsupported: Status("UNIMPLEMENTED", 501),
    DeadlineExceeded: Status("DEADLINE_EXCEEDED", 504),
    LoopDetected: Status("FAILED_PRECONDITION", 508),
    RotationRefused: Status("FAILED_PRECONDITION", 409),
    UnknownDelegation: Status("NOT_FOUND", 404),
    RequestIdTaken: Status("ALREADY_EXISTS", 409),
    WrongState: Status("FAILED_PRECONDITION", 409),
    BudgetSpent: Status("RESOURCE_EXHAUSTED", 429),
    NotAcceptable: Status("ABORTED", 502),
    Poisonous: Status("ABORTED", 500),
    Cancelled: Status("CANCELLED", 499),
    QueueFull: Status("RESOURCE_EXHAUSTED", 429),
    DoesNotFit: Status("FAILED_PRECONDITION", 507),
    ModelLoading: Status("UNAVAILABLE", 503),
    NoOrchestrator: Status("FAILED_PRECONDITION", 503),
    NoSpoke: Status("UNAVAILABLE", 503),
    SpokeLost: Status("UNAVAILABLE", 503),
    ClientStalled: Status("ABORTED", 408),
    EngineUnavailable: Status("UNAVAILABLE", 503),
    EngineOverloaded: Status("RESOURCE_EXHAUSTED", 429),
    EngineOutOfMemory: Status("RESOURCE_EXHAUSTED", 507),
    LoadFailed: Status("FAILED_PRECONDITION", 500),
    EngineCrashed: Status("UNAVAILABLE", 502),
    EngineTruncated: Status("UNAVAILABLE", 502),
    EngineTimeout: Status("DEADLINE_EXCEEDED", 504),
    InvalidOutput: Status("INTERNAL", 502),
    EngineProtocol: Status("INTERNAL", 502),
    ProtocolViolation: Status("INVALID_ARGUMENT", 400),
    SessionReplaced: Status("ABORTED", 409),
    ModelNotLoaded: Status("ABORTED", 409),
    SlotTaken: Status("ABORTED", 409),
    TaskConflict: Status("ABORTED", 409),
    Busy: Status("FAILED_PRECONDITION", 409),
    Draining: Status("UNAVAILABLE", 503),
    Unauthenticated: Status("UNAUTHENTICATED", 401),
    PermissionDenied: Status("PERMISSION_DENIED", 403),
    AlreadyEnrolled: Status("ALREADY_EXISTS", 409),
    UnknownKey: Status("NOT_FOUND", 404),
    UnknownNode: Status("NOT_FOUND", 404),
    RateLimited: Status("RESOURCE_EXHAUSTED", 429),
    QuotaExceeded: Status("RESOURCE_EXHAUSTED", 429),
    Unreachable: Status("UNAVAILABLE", 503),
    StoreFailed: Status("UNAVAILABLE", 503),
    InternalError: Status("INTERNAL", 500),
}

RETRYABLE: frozenset[type[MeshError]] = frozenset(
    {SpokeLost, EngineUnavailable, EngineOverloaded, EngineCrashed, EngineTruncated, EngineTimeout,
     InvalidOutput, EngineOutOfMemory, LoadFailed, ModelNotLoaded, SlotTaken, Draining, UnknownModel}
)  # fmt: skip
"""Failures of one attempt after which another spoke may do better, as long as the client has seen no text."""

_BY_REASON = {kind.reason: kind for kind in STATUS}


def status_of(error: MeshError) -> Status:
    """Say what *error* looks like outside."""
    return STATUS[type(error)]


def is_retryable(error: MeshError) -> bool:
    """Whether another spoke may do better."""
    return type(error) in RETRYABLE


def from_reason(reason: str, message: str, **figures: str | float) -> MeshError:
    """Rebuild an error from what crossed the wire; an unknown reason becomes an `InternalError` that keeps it."""
    kind = _BY_REASON.get(reason)
    if kind is None:
        return InternalError(f"{message} (reason {reason!r}, which this version does not know)", **figures)
    return kind(message, **figures)
