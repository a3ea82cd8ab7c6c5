"""Errors on the wire: google.rpc.Status with an ErrorInfo, as any gRPC client can read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from hubspoke.api.types.v1 import types_pb2 as pb
from hubspoke.errors import (
    Cancelled,
    DeadlineExceeded,
    EngineProtocol,
    InternalError,
    MeshError,
    PermissionDenied,
    RequestError,
    RequestTooLarge,
    SessionError,
    SpokeError,
    Unauthenticated,
    Unreachable,
    Unsupported,
    from_reason,
    status_of,
)
from hubspoke.wire import times

if TYPE_CHECKING:
    from google.protobuf.message import Message

DOMAIN: Final = "hubspoke"
FAILURE_CHARS_MAX: Final = 500
"""Of a spoke's own words: they end up in a trailer, which has a limit, on terminals and in logs."""
DETAILS_KEY: Final = "grpc-status-details-bin"

# What a status without an ErrorInfo of ours means: gRPC itself, or something between, has made it.
_BARE: Final[dict[grpc.StatusCode, tuple[type[MeshError], str]]] = {
    grpc.StatusCode.UNAVAILABLE: (
        Unreachable,
        "the hub does not answer or refuses this certificate; is hub-server running, and the certificate still valid?",
    ),
    grpc.StatusCode.DEADLINE_EXCEEDED: (DeadlineExceeded, "the deadline passed before the hub had answered"),
    grpc.StatusCode.CANCELLED: (Cancelled, "the call was cancelled"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (
        RequestTooLarge,
        "the message is larger than the hub takes; send less",
    ),
    grpc.StatusCode.UNIMPLEMENTED: (Unsupported, "the hub does not know this call; update it"),
    grpc.StatusCode.UNAUTHENTICATED: (Unauthenticated, "the hub does not accept this identity; join again"),
    grpc.StatusCode.PERMISSION_DENIED: (PermissionDenied, "this identity may not do that"),
}


def code_of(error: MeshError) -> grpc.StatusCode:
    """Give the gRPC code of an error."""
    code = getattr(grpc.StatusCode, status_of(error).grpc)
    assert isinstance(code, grpc.StatusCode)  # noqa: S101  # every name in the table is tested
    return code


def trailers_of(error: MeshError) -> tuple[tuple[str, bytes], ...]:
    """Give the trailing metadata that carries the reason and the figures of an error, and when to try again."""
    info = ErrorInfo(
        reason=error.reason.upper(),
        domain=DOMAIN,
        metadata={name: str(value) for name, value in error.figures.items()},
    )
    details: list[Message] = [info]
    retry_after_s = error.figures.get("retry_after_s")
    if retry_after_s is not None:
        details.append(RetryInfo(retry_delay=times.duration(float(retry_after_s))))
    number, _ = code_of(error).value
    status = Status(code=number, message=error.message, details=map(_packed, details))
    return ((DETAILS_KEY, status.SerializeToString()),)


def _packed(detail: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(detail)
    return packed


def error_of(failure: grpc.aio.AioRpcError) -> MeshError:
    """Rebuild the error of a failed call; one that is not ours keeps the text of gRPC for people."""
    metadata = failure.trailing_metadata()
    details = next((value for key, value in metadata or () if key == DETAILS_KEY), None)
    if isinstance(details, bytes):
        error = _from_details(details)
        if error is not None:
            return error
    text = failure.details() or "no details"
    kind, sentence = _BARE.get(failure.code(), (InternalError, f"the call failed with {failure.code().name}"))
    return kind(f"{sentence} ({text})")


def _from_details(details: bytes) -> MeshError | None:
    try:
        status = Status.FromString(details)
        info = ErrorInfo()
        for packed in status.details:
            if packed.Unpack(info) and info.domain == DOMAIN:
                return from_reason(info.reason.lower(), status.message, **info.metadata)
    except DecodeError:
        return None
    return None


def failure_to_wire(error: MeshError) -> pb.Failure:
    """Give an error as part of a stream's message."""
    return pb.Failure(reason=error.reason, message=error.message)


def failure_from_wire(message: pb.Failure) -> MeshError:
    """Rebuild the error that a spoke met. What only a hub can say is not believed, and text is made fit to be shown."""
    text = "".join(sign if sign.isprintable() else "?" for sign in message.message[:FAILURE_CHARS_MAX])
    error = from_reason(message.reason[:FAILURE_CHARS_MAX], text or "no message")
    if isinstance(error, SpokeError | SessionError | RequestError):
        return error
    return EngineProtocol(f"the spoke failed: {text or 'no message'}")
