"""What every call passes through: nothing internal gets out, nobody unknown gets in."""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import grpc
from cryptography import x509
from google.protobuf.message import DecodeError

from hub.audit import refusal_of
from hub.rpc.access import ENROL_PORT, MESH_PORT
from hubspoke.errors import (
    AccessError,
    InternalError,
    InvalidRequest,
    MeshError,
    PermissionDenied,
    Unauthenticated,
)
from hubspoke.wire import status
from pki import policy
from pki.errors import BadIdentity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

    from hub.audit import Audit
    from hub.identities import Identities
    from hub.rpc.limits import Attempt, NodeLimits, StrangerLimits
    from hub.rpc.live import Live, LiveCall
    from pki.policy import Peer

    Handler = grpc.RpcMethodHandler[Any, Any]
    Context = grpc.aio.ServicerContext[Any, Any]
    Behaviour = Callable[[Any, Context], Awaitable[Any]]
    Guard = Callable[[Context], AbstractContextManager[Context]]
    Read = Callable[[Any], Any]
    Note = Callable[[MeshError, Context, str], None]

log = logging.getLogger(__name__)

TLS_VERSION: Final = b"TLSv1.3"
DENIED: Final = "this identity may not call that"
ABORT_S: Final = 5.0
"""How long a caller that reads nothing may keep a call that is over from ending."""

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
    """Wraps every handler of a server. A method that is not served is denied.

    *guard* gives for a method what is asked before its handler runs, and gives the block that it runs in. *note* is told of
    every error of ours, and writes down those that are refusals.
    """

    def __init__(self, guard: Callable[[str], Guard], note: Note) -> None:
        self._guard = guard
        self._note = note
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Give the handler of the call, wrapped."""
        method = details.method
        wrapped = self._wrapped.get(method)
        if wrapped is not None:
            return wrapped
        handler = await continuation(details)
        if handler is None:  # without a handler of ours gRPC answers UNIMPLEMENTED, to strangers too
            return grpc.unary_unary_rpc_method_handler(self._wrap(_deny, method, _unread))
        self._wrapped[method] = wrapped = self._wrap_handler(handler, method)
        return wrapped

    def _wrap_handler(self, handler: Handler, method: str) -> Handler:
        for shape, make in SHAPES.items():
            behaviour = getattr(handler, shape)
            if behaviour:
                read = _strict(handler.request_deserializer)
                # gRPC would read the one message of a caller before anybody has asked who that is; the others wait.
                is_stream = shape.startswith("stream")
                return make(
                    self._wrap(behaviour, method, _unread if is_stream else read),
                    request_deserializer=read if is_stream else None,
                    response_serializer=handler.response_serializer,
                )
        raise TypeError(f"{method} has a handler of no known shape")

    def _wrap(self, behaviour: Behaviour, method: str, read: Read) -> Behaviour:
        guard = self._guard(method)

        async def guarded(request: Any, context: Context) -> Any:
            try:
                try:
                    with guard(context) as served:
                        return await behaviour(read(request), served)
                except MeshError as error:
                    self._note(error, context, method)
                    raise
            except MeshError as error:
                await _abort(context, error)
            except grpc.aio.BaseError:
                raise  # the peer is gone, or the call was aborted already: there is nobody to tell
            except Exception:
                request_id = secrets.token_hex(8)
                log.exception("call failed unexpectedly", extra={"request_id": request_id})
                await _abort(
                    context, InternalError(f"internal error; the hub's log has request {request_id}")
                )

        return guarded


def mesh_gate(identities: Identities, live: Live, limits: NodeLimits, audit: Audit) -> Gate:
    """Give the gate of the mesh port: TLS 1.3, a live identity, a role that the table allows, and not too often."""

    def guard(method: str) -> Guard:
        roles = MESH_PORT.get(method, frozenset())

        def check(context: Context) -> LiveCall:
            auth = context.auth_context()
            leaf = next(iter(auth.get("x509_pem_cert", ())), None)
            if leaf is None or TLS_VERSION not in auth.get("ssl_tls_version", ()):
                raise Unauthenticated("connect with TLS 1.3 and a certificate of this mesh")
            peer = identities.authenticate(leaf)
            if peer.identity.role not in roles:
                raise PermissionDenied(DENIED)
            limits.check(peer, method)
            _caller.set(peer)
            return live.call(peer, context)

        return check

    def note(error: MeshError, context: Context, method: str) -> None:
        if isinstance(error, AccessError):
            event = "authn.denied" if isinstance(error, Unauthenticated) else "authz.denied"
            facts = {"method": method, "why": error.message, **_shown(context)}
            audit.note_often(event, peer=address_of(context), reason=refusal_of(error), **facts)

    return Gate(guard, note)


def enrol_gate(limits: StrangerLimits, audit: Audit) -> Gate:
    """Give the gate of the enrol port: nobody is known, and only joining is served."""

    def guard(method: str) -> Guard:
        def check(context: Context) -> Attempt:
            attempt = limits.check(address_of(context), context)
            if method not in ENROL_PORT:
                raise PermissionDenied(DENIED)
            return attempt

        return check

    def note(error: MeshError, context: Context, method: str) -> None:
        if isinstance(error, AccessError | InvalidRequest):
            facts = {"method": method, "why": error.message}
            audit.note_often("enrol.denied", peer=address_of(context), reason=refusal_of(error), **facts)

    return Gate(guard, note)


def address_of(context: Context) -> str:
    """Give the address that a call comes from, without its port."""
    kind, _, rest = context.peer().partition(":")
    host = rest.rpartition(":")[0] if kind in {"ipv4", "ipv6"} else rest
    return unquote(host).strip("[]")


def _shown(context: Context) -> dict[str, str]:
    """Say what the certificate of a caller claims; to note, and not to believe."""
    leaf = next(iter(context.auth_context().get("x509_pem_cert", ())), None)
    if leaf is None:
        return {}
    certificate = x509.load_pem_x509_certificate(leaf)
    try:
        return {"serial": policy.serial_hex(certificate), "identity": policy.identity_of(certificate).uri}
    except BadIdentity:
        return {"serial": policy.serial_hex(certificate)}


async def _abort(context: Context, error: MeshError) -> None:
    try:
        async with asyncio.timeout(ABORT_S):
            await context.abort(status.code_of(error), error.message, status.trailers_of(error))
    except grpc.aio.InternalError as gone:
        # The caller has disconnected: there is nobody to tell. gRPC logs every other error here as a defect of ours.
        raise asyncio.CancelledError from gone
    except TimeoutError as stalled:
        # The caller reads nothing, so it does not hear of the end either; this ends the call all the same.
        raise asyncio.CancelledError from stalled


def _strict(read: Read | None) -> Read:
    """Have *read* refuse what is no message with an error of ours: that is no defect."""
    if read is None:
        return _unread

    def strictly(data: Any) -> Any:
        try:
            return read(data)
        except DecodeError as error:
            raise InvalidRequest("these bytes are no message of this call") from error

    return strictly


def _unread(request: Any) -> Any:
    return request


async def _deny(_request: Any, _context: Context) -> None:
    raise PermissionDenied(DENIED)
