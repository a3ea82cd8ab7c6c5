"""The routes of the gateway, and the one boundary that turns whatever happens into a response of the right dialect."""

from __future__ import annotations

import logging
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route, Router

from hub.gateway.access import Principal, canonical_origin
from hub.gateway.advice import NOT_AGAIN, advice
from hub.gateway.asking import ClientGone
from hub.gateway.exchange import JSON, Exchange
from hubspoke.errors import AccessError, InternalError, LoopDetected, MeshError, QueueFull, Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    import msgspec
    from starlette.types import ASGIApp, Receive, Scope, Send

    from hub.gateway.access import Door
    from hub.gateway.front import Front

    Handler: TypeAlias = Callable[[Front, Exchange, Principal], Awaitable[None]]

log = logging.getLogger(__name__)

REQUEST_ID_HEADERS: Final = ("x-request-id", "request-id")
"""OpenAI's clients look for the one, Anthropic's for the other."""


class Dialect(Protocol):
    """What the boundary needs to know of a dialect."""

    def error(self, error: MeshError, request_id: str) -> tuple[int, bytes]:
        """Give the status and the body of an error."""
        ...

    def missing(self, status: int, message: str, request_id: str) -> bytes:
        """Give the body for a request that no route takes: 404, or 405 where other methods have one."""
        ...


@dataclass(frozen=True, slots=True)
class Way:
    """A route: its methods and path, the dialect that it belongs to, and what it does.

    *body* is what its request holds, if it holds anything; one that *is_open* needs nobody's leave. One with a *header*
    takes only requests that carry one of that name, whatever it says: dialects share some paths.
    """

    methods: tuple[str, ...]
    path: str
    dialect: Dialect
    handler: Handler
    body: type[msgspec.Struct] | None = None
    is_open: bool = False
    header: str = ""


class Serving:
    """What is being served, and no more than *most* at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._exchanges: set[Exchange] = set()

    @contextmanager
    def place(self, exchange: Exchange) -> Iterator[None]:
        """Take a place for as long as the block lasts; raise QueueFull when there is none."""
        if len(self._exchanges) >= self._most:
            raise QueueFull(
                f"{self._most} requests are being served already, and more are not; try again soon"
            )
        self._exchanges.add(exchange)
        try:
            yield
        finally:
            self._exchanges.discard(exchange)

    def interrupt(self) -> None:
        """End all of it, since the hub stops."""
        for exchange in tuple(self._exchanges):
            exchange.interrupt(Unreachable("the hub is stopping; ask again when it is back"))


class Endpoint:
    """One route as an ASGI application."""

    def __init__(self, way: Way, front: Front, door: Door, serving: Serving) -> None:
        self._way = way
        self._front = front
        self._door = door
        self._serving = serving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, and let nothing internal out."""
        exchange = Exchange(scope, receive, send)
        request_id = _new_id()
        exchange.common |= dict.fromkeys(REQUEST_ID_HEADERS, request_id)
        try:
            await self._serve(exchange)
        except ClientGone:
            pass  # there is nobody to tell
        except MeshError as error:
            if isinstance(error, AccessError | LoopDetected):
                self._door.note(exchange, error)
            await self._fail(exchange, error, request_id)
        except Exception:
            log.exception("request failed unexpectedly", extra={"request_id": request_id})
            await self._fail(
                exchange, InternalError(f"internal error; the hub's log has {request_id}"), request_id
            )

    async def _serve(self, exchange: Exchange) -> None:
        self._door.check(exchange)
        principal = Principal("anybody") if self._way.is_open else self._door.admit(exchange)
        with self._serving.place(exchange), self._door.attend(exchange, principal):
            await self._way.handler(self._front, exchange, principal)

    async def _fail(self, exchange: Exchange, error: MeshError, request_id: str) -> None:
        if exchange.has_begun:
            # The dialect's own stream has no word for it any more: end it so that the client sees that it is not whole.
            log.error("response broke off", extra={"request_id": request_id, "reason": error.reason})
            raise error
        status, body = self._way.dialect.error(error, request_id)
        may_have_run = "x-hubspoke-spoke" in exchange.common
        told = advice(error, may_have_run=may_have_run, now=self._front.now())
        await exchange.respond(status, body, headers=told)


class WayRoute(Route):
    """Takes the requests of one way."""

    def __init__(self, way: Way, endpoint: Endpoint) -> None:
        super().__init__(way.path, endpoint, methods=list(way.methods))
        self._header = way.header.encode()

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Say whether a request is for this way."""
        if self._header and all(name != self._header for name, _ in scope.get("headers", ())):
            return Match.NONE, {}
        return super().matches(scope)


def application(
    ways: Iterable[Way],
    front: Front,
    door: Door,
    serving: Serving,
    *,
    origins: Iterable[str],
    dialect_of: Callable[[Request], Dialect],
) -> ASGIApp:
    """Put all *ways* together, the first that fits taken. *dialect_of* says who may have sent what fits none."""
    # A redirection would go to whatever host the request names, before anybody has looked at that.
    router = Router(
        [WayRoute(way, Endpoint(way, front, door, serving)) for way in ways], redirect_slashes=False
    )

    def elsewhere(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.url.path} is nothing that this gateway serves; /openapi.json lists what it does"
        request_id = _new_id()
        body = dialect_of(request).missing(error.status_code, message, request_id)
        headers = {**(error.headers or {}), **dict.fromkeys(REQUEST_ID_HEADERS, request_id), **NOT_AGAIN}
        return Response(body, error.status_code, headers, JSON)

    # Not starlette's own application, which would look at every write of every answer twice.
    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = router  # it raises what it has no route for only inside of something
        try:
            await router(scope, receive, send)
        except HTTPException as error:
            await elsewhere(Request(scope), error)(scope, receive, send)

    allowed, every = [canonical_origin(origin) for origin in origins], ["*"]
    if not allowed:
        return routed
    return CORSMiddleware(
        routed, allow_origins=allowed, allow_methods=every, allow_headers=every, expose_headers=every
    )


def _new_id() -> str:
    return f"req_{secrets.token_hex(8)}"
