"""Errors in OpenAI's shape."""

from __future__ import annotations

from typing import Final

import msgspec

from hubspoke.errors import (
    AccessError,
    CapacityError,
    MeshError,
    QuotaExceeded,
    RateLimited,
    RequestError,
    Unauthenticated,
    status_of,
)

METHOD_NOT_ALLOWED: Final = 405

_CODES: Final = {
    "unknown_model": "model_not_found",
    "context_too_long": "context_length_exceeded",
    "unauthenticated": "invalid_api_key",
    "rate_limited": "rate_limit_exceeded",
    "quota_exceeded": "insufficient_quota",
}
"""Codes that clients know, by our reason; every other reason is its own code."""


class OpenAi:
    """How the dialect says that something went wrong."""

    def error(self, error: MeshError, request_id: str) -> tuple[int, bytes]:
        """Give the status and the body of an error."""
        return status_of(error).http, msgspec.json.encode({"error": described(error, request_id)})

    def missing(self, status: int, message: str, request_id: str) -> bytes:
        """Give the body for a request that no route takes."""
        told = {
            "message": message,
            "type": "invalid_request_error",
            "param": None,
            "code": "method_not_allowed" if status == METHOD_NOT_ALLOWED else "not_found",
            "request_id": request_id,
        }
        return msgspec.json.encode({"error": told})


def described(error: MeshError, request_id: str = "") -> dict[str, object]:
    """Give what stands below "error", in a stream too."""
    more = {"request_id": request_id} if request_id else {}
    loading = {
        name.removesuffix("_s"): error.figures[name]
        for name in ("elapsed_s", "expected_s")
        if name in error.figures
    }
    return {
        "message": error.message,
        "type": _kind(error),
        "param": None,
        "code": _CODES.get(error.reason, error.reason),
        **({"loading": loading} if loading else {}),
        **more,
    }


def _kind(error: MeshError) -> str:
    match error:
        case Unauthenticated():
            return "authentication_error"
        case RateLimited() | QuotaExceeded():
            return "rate_limit_error"
        case AccessError():
            return "permission_error"
        case RequestError():
            return "invalid_request_error"
        case CapacityError():
            return "service_unavailable_error"
        case _:
            return "server_error"
