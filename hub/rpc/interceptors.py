"""What every call passes through: nothing internal gets out, nobody unknown gets in."""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import grpc

from hub.rpc.access import ENROL_PORT, MESH_PORT
from hubspoke.errors import InternalError, MeshError, PermissionDenied, Unauthenticated
from hubspoke.wire import status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hub.identities import Identities
    from pki.policy import Peer

    Handler = grpc.RpcMethodHandler[Any, Any]
    Behaviour = Callable[[Any, grpc.aio.ServicerContext[Any, Any]], Awaitable[Any]]
    Guard = Callable[[grpc.aio.ServicerContext[Any, Any]], None]

log = logging.getLogger(__name__)

TLS_VERSION: Final = b"TLSv1.3"
DENIED: Final = "this identity may not call that"

SHAPES: Final[dict[str, Callable[..., Handler]]] = {
    "unary_unary": grpc.unary_unary_rpc_method_handler,
    "unary_stream": grpc.unary_stream_rpc_method_handler,
    "stream_unary": grpc.stream_unary_rpc_method_handler,
    "stream_stream": grpc.stream_stream_rpc_method_handler,
}

_caller: ContextVar[Peer] = ContextVar("caller")


def caller() -> Peer:
    """Say whose call is being served. Only inside a call of the mesh port."""
    return _caller.get()


class Gate(grpc.aio.ServerInterceptor):
    """Wraps every handler of a server; *guard* is asked before it runs. A method that is not served is denied."""

    def __init__(self, guard: Callable[[str], Guard]) -> None:
        self._guard = guard

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Give the handler of the call, wrapped."""
        guard = self._guard(details.method)
        handler = await continuation(details)
        if handler is None:  # without a handler of ours gRPC answers UNIMPLEMENTED, to strangers too
            return grpc.unary_unary_rpc_method_handler(_wrap(_deny, guard))
        for shape, make in SHAPES.items():
            behaviour = getattr(handler, shape)
            if behaviour:
                return make(
                    _wrap(behaviour, guard),
                    request_deserializer=handler.request_deserializer,
                    response_serializer=handler.response_serializer,
                )
        raise TypeError(f"{details.method} has a handler of no known shape")


def mesh_gate(identities: Identities) -> Gate:
    """Give the gate of the mesh port: TLS 1.3, a live identity, and a role that the table allows."""

    def guard(method: str) -> Guard:
        roles = MESH_PORT.get(method, frozenset())

        def check(context: grpc.aio.ServicerContext[Any, Any]) -> None:
            auth = context.auth_context()
            leaf = next(iter(auth.get("x509_pem_cert", ())), None)
            if leaf is None or TLS_VERSION not in auth.get("ssl_tls_version", ()):
                raise Unauthenticated("connect with TLS 1.3 and a certificate of this mesh")
            peer = identities.authenticate(leaf)
            if peer.identity.role not in roles:
                log.warning("call denied", extra={"identity": peer.identity.uri, "method": method})
                raise PermissionDenied(DENIED)
            _caller.set(peer)

        return check

    return Gate(guard)


def enrol_gate() -> Gate:
    """Give the gate of the enrol port: nobody is known, and only joining is served."""

    def guard(method: str) -> Guard:
        def check(_context: grpc.aio.ServicerContext[Any, Any]) -> None:
            if method not in ENROL_PORT:
                raise PermissionDenied(DENIED)

        return check

    return Gate(guard)


def _wrap(behaviour: Behaviour, guard: Guard) -> Behaviour:
    async def guarded(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            guard(context)
            return await behaviour(request, context)
        except MeshError as error:
            await _abort(context, error)
        except grpc.aio.BaseError:
            raise  # the peer is gone, or the call was aborted already: there is nobody to tell
        except Exception:
            request_id = secrets.token_hex(8)
            log.exception("call failed unexpectedly", extra={"request_id": request_id})
            await _abort(context, InternalError(f"internal error; the hub's log has request {request_id}"))

    return guarded


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: MeshError) -> None:
    try:
        await context.abort(status.code_of(error), error.message, status.trailers_of(error))
    except grpc.aio.InternalError as gone:
        # The caller has disconnected: there is nobody to tell. gRPC logs every other error here as a defect of ours.
        raise asyncio.CancelledError from gone


async def _deny(_request: Any, _context: grpc.aio.ServicerContext[Any, Any]) -> None:
    raise PermissionDenied(DENIED)
