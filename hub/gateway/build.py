"""Puts the gateway together: who may come in, every dialect's routes, and the ports."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hub.certificate import keep_gateway_fresh
from hub.gateway.access import Door
from hub.gateway.anthropic.errors import Anthropic
from hub.gateway.anthropic.routes import ROUTES as ANTHROPIC
from hub.gateway.anthropic.routes import VERSION_HEADER
from hub.gateway.app import Serving, application
from hub.gateway.listening import Listener, Tls
from hub.gateway.ollama.errors import Ollama
from hub.gateway.ollama.routes import ROUTES as OLLAMA
from hub.gateway.openai.errors import OpenAi
from hub.gateway.openai.routes import ROUTES as OPENAI
from hub.gateway.openapi import described
from hubspoke.http_marks import MESH_HEADER
from pki.identity import TRUST_DOMAIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from hub.audit import Audit
    from hub.config import GatewayConfig
    from hub.gateway.app import Dialect
    from hub.gateway.front import Front
    from hub.identities import Identities
    from hub.keys import Keys
    from hub.rpc.live import Live
    from hubspoke.clock import Clock
    from pki.address import Host
    from pki.files import HubFiles


WAYS: Final = (*ANTHROPIC, *OPENAI, *OLLAMA)
"""Every dialect's routes. Those for requests with a certain header come before those for all."""


def gateway(
    settings: GatewayConfig,
    front: Front,
    *,
    keys: Keys,
    identities: Identities,
    live: Live,
    audit: Audit,
    files: HubFiles,
    hosts: tuple[Host, ...],
    clock: Clock,
) -> Listener:
    """Take the gateway's ports; raise InvalidRequest when they, or the certificate, cannot be had."""
    serving = Serving(settings.requests_max)
    app = application(
        (*WAYS, described(WAYS, version("hubspoke"))),
        front,
        Door(settings, hosts, keys=keys, identities=identities, live=live, audit=audit),
        serving,
        origins=settings.origins,
        dialect_of=dialect_of,
    )
    return Listener(
        settings,
        app,
        _tls(settings, identities, partial(keep_gateway_fresh, files, hosts, clock), files),
        common={MESH_HEADER: TRUST_DOMAIN},
        interrupt=serving.interrupt,
    )


def dialect_of(request: Request) -> Dialect:
    """Say whose client has sent a request that no route takes: it reads errors of its own dialect alone."""
    path = request.url.path
    if path in {"/", "/api"} or path.startswith("/api/"):
        return Ollama()
    if VERSION_HEADER in request.headers or path == "/v1/messages" or path.startswith("/v1/messages/"):
        return Anthropic()
    return OpenAi()


def _tls(settings: GatewayConfig, identities: Identities, renew: Callable[[], None], files: HubFiles) -> Tls:
    def anchors() -> str:
        return identities.clients_pem.decode()

    if not settings.certificate:
        return Tls(files.gateway, files.gateway, anchors, renew)
    certificate = Path(settings.certificate).expanduser()
    key = Path(settings.key).expanduser() if settings.key else certificate
    return Tls(certificate, key, anchors, _left_to_the_operator)


def _left_to_the_operator() -> None:
    """Renew nothing."""
