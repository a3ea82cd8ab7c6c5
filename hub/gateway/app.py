"""The routes of the gateway, and the one boundary that turns whatever happens into a response of the right dialect."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route

from hub.gateway.access import Principal
from hub.gateway.asking import ClientGone
from hub.gateway.exchange import Exchange
from hubspoke.errors import InternalError, MeshError, QueueFull, status_of
from hubspoke.http_marks import MESH_HEADER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    import msgspec
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from hub.gateway.access import Door
    from hub.gateway.front import Front

    Handler: TypeAlias = Callable[[Front, Exchange, Principal], Awaitable[None]]

log = logging.getLogger(__name__)

REQUEST_ID_HEADERS: Final = ("x-request-id", "request-id")
"""OpenAI's clients look for the one, Anthropic's for the other."""
METHOD_NOT_ALLOWED: Final = 405


class Dialect(Protocol):
    """What the boundary needs to know of a dialect."""

    def error(self, error: MeshError, request_id: str) -> tuple[int, bytes]:
        """Give the status and the body of an error."""
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


class Busy:
    """Counts what is being served, and refuses what is too much."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.serving = 0

    def __enter__(self) -> None:
        """Take a place; raise QueueFull when there is none."""
        if self.serving >= self._most:
            raise QueueFull(
                f"{self._most} requests are being served already, and more are not; try again soon"
            )
        self.serving += 1

    def __exit__(self, *_: object) -> None:
        """Give the place back."""
        self.serving -= 1


class Endpoint:
    """One route as an ASGI application."""

    def __init__(self, way: Way, front: Front, door: Door, busy: Busy, mesh: str) -> None:
        self._way = way
        self._front = front
        self._door = door
        self._busy = busy
        self._mesh = mesh

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, and let nothing internal out."""
        exchange = Exchange(scope, receive, send)
        request_id = f"req_{secrets.token_hex(8)}"
        exchange.common |= {MESH_HEADER: self._mesh, **dict.fromkeys(REQUEST_ID_HEADERS, request_id)}
        try:
            await self._serve(exchange)
        except ClientGone:
            pass  # there is nobody to tell
        except MeshError as error:
            await self._fail(exchange, error, request_id)
        except Exception:
            log.exception("request failed unexpectedly", extra={"request_id": request_id})
            await self._fail(
                exchange, InternalError(f"internal error; the hub's log has {request_id}"), request_id
            )

    async def _serve(self, exchange: Exchange) -> None:
        self._door.check(exchange)
        principal = Principal("anybody") if self._way.is_open else self._door.admit(exchange)
        with self._busy:
            await self._way.handler(self._front, exchange, principal)

    async def _fail(self, exchange: Exchange, error: MeshError, request_id: str) -> None:
        if exchange.has_begun:
            # The dialect's own stream has no word for it any more: end it so that the client sees that it is not whole.
            log.error("response broke off", extra={"request_id": request_id, "reason": error.reason})
            raise error
        status, body = self._way.dialect.error(error, request_id)
        await exchange.respond(status, body, headers=_advice(error, exchange))


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
    ways: Iterable[Way], front: Front, door: Door, *, mesh: str, requests_max: int, origins: Iterable[str]
) -> ASGIApp:
    """Put all *ways* together, the first that fits taken. *mesh* is the trust domain, which every response names."""
    busy = Busy(requests_max)
    routes = [WayRoute(way, Endpoint(way, front, door, busy, mesh)) for way in ways]
    allowed = list(origins)
    cors = Middleware(CORSMiddleware, allow_origins=allowed, allow_methods=["*"], allow_headers=["*"])

    async def elsewhere(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        return JSONResponse(_no_route(request, status), status, {MESH_HEADER: mesh})

    return Starlette(
        routes=routes,
        middleware=[cors] if allowed else [],
        exception_handlers={HTTPException: elsewhere},
    )


def _no_route(request: Request, status: int) -> dict[str, object]:
    code = "method_not_allowed" if status == METHOD_NOT_ALLOWED else "not_found"
    message = f"{request.method} {request.url.path} is nothing that this gateway serves; /openapi.json lists what it does"
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def _advice(error: MeshError, exchange: Exchange) -> Mapping[str, str]:
    """Say to clients that try again by themselves whether and when: work that may have run must not run thrice."""
    headers: dict[str, str] = {}
    retry_after_s = error.figures.get("retry_after_s")
    if retry_after_s is not None:
        headers["retry-after"] = str(max(1, round(float(retry_after_s))))
    elif status_of(error).http in {429, 503}:
        headers["retry-after"] = "1"
    if "x-hubspoke-spoke" in exchange.common:
        headers["x-should-retry"] = "false"
    return headers
