"""Puts the gateway together: who may come in, every dialect's routes, and the ports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hub.gateway.access import Door
from hub.gateway.app import application
from hub.gateway.listening import Listener, Tls
from hub.gateway.ollama.routes import ROUTES as OLLAMA
from hub.gateway.openai.routes import ROUTES as OPENAI
from pki.identity import TRUST_DOMAIN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hub.config import GatewayConfig
    from hub.gateway.front import Front
    from hub.identities import Identities
    from hub.keys import Keys
    from pki.address import Host
    from pki.files import HubFiles


def gateway(
    settings: GatewayConfig,
    front: Front,
    *,
    keys: Keys,
    identities: Identities,
    files: HubFiles,
    hosts: Iterable[Host],
) -> Listener:
    """Take the gateway's ports; raise InvalidRequest when they, or the certificate, cannot be had."""
    certificate = Path(settings.certificate).expanduser() if settings.certificate else files.gateway
    key = Path(settings.key).expanduser() if settings.key else certificate
    app = application(
        (*OPENAI, *OLLAMA),
        front,
        Door(settings, keys, identities, hosts),
        mesh=TRUST_DOMAIN,
        requests_max=settings.requests_max,
        origins=settings.origins,
    )
    return Listener(settings, app, Tls(certificate, key, identities.issuer_pem.decode()))
