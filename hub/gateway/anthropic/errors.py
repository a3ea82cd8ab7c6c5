"""Errors in Anthropic's shape: few types, each with a status of its own."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from hubspoke.errors import (
    AccessError,
    CapacityError,
    DeadlineExceeded,
    EngineOverloaded,
    LoopDetected,
    MeshError,
    QuotaExceeded,
    RateLimited,
    RequestError,
    RequestTooLarge,
    Unauthenticated,
    UnknownKey,
    UnknownModel,
)


class Kind(NamedTuple):
    """A type of error as the dialect has them, and its HTTP status."""

    type: str
    status: int


_INVALID: Final = Kind("invalid_request_error", 400)
_NOT_FOUND: Final = Kind("not_found_error", 404)
_RATE_LIMIT: Final = Kind("rate_limit_error", 429)
_OVERLOADED: Final = Kind("overloaded_error", 529)

# From the special to the general: the first that fits is taken.
_KINDS: Final[tuple[tuple[type[MeshError], Kind], ...]] = (
    (UnknownModel, _NOT_FOUND),
    (UnknownKey, _NOT_FOUND),
    (RequestTooLarge, Kind("request_too_large", 413)),
    (DeadlineExceeded, Kind("timeout_error", 504)),
    (LoopDetected, Kind("invalid_request_error", 508)),
    # Also what no model here can do: clients try again by themselves after any status from 500 on.
    (RequestError, _INVALID),
    (Unauthenticated, Kind("authentication_error", 401)),
    (RateLimited, _RATE_LIMIT),
    (QuotaExceeded, _RATE_LIMIT),
    (AccessError, Kind("permission_error", 403)),
    (CapacityError, _OVERLOADED),
    (EngineOverloaded, _OVERLOADED),
    (MeshError, Kind("api_error", 500)),
)


class Anthropic:
    """How the dialect says that something went wrong."""

    def error(self, error: MeshError, request_id: str) -> tuple[int, bytes]:
        """Give the status and the body of an error."""
        return kind_of(error).status, msgspec.json.encode(described(error, request_id))

    def missing(self, status: int, message: str, request_id: str) -> bytes:
        """Give the body for a request that no route takes."""
        kind = _NOT_FOUND if status == _NOT_FOUND.status else _INVALID
        told = {"type": kind.type, "message": message}
        return msgspec.json.encode({"type": "error", "error": told, "request_id": request_id})


def described(error: MeshError, request_id: str) -> dict[str, object]:
    """Give the whole body of an error, which is the same in a stream; *reason* and figures are what a mesh adds."""
    told: dict[str, object] = {"type": kind_of(error).type, "message": error.message, "reason": error.reason}
    if error.figures:
        told["figures"] = error.figures
    return {"type": "error", "error": told, "request_id": request_id}


def kind_of(error: MeshError) -> Kind:
    """Say which of the dialect's errors it is."""
    return next(kind for mesh_kind, kind in _KINDS if isinstance(error, mesh_kind))
