"""Who may come in over HTTP: by an API key, by a certificate of the mesh, or from this machine where that is allowed."""

from __future__ import annotations

import ipaddress
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hub.audit import refusal_of
from hub.core.quota import ApiKey, Scope
from hubspoke.errors import InvalidRequest, LoopDetected, PermissionDenied, Unauthenticated
from hubspoke.http_marks import HOP_HEADER
from pki.identity import Role

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from hub.audit import Audit
    from hub.config import GatewayConfig
    from hub.gateway.exchange import Exchange
    from hub.identities import Identities
    from hub.keys import Keys
    from hub.rpc.live import Live
    from hubspoke.errors import MeshError
    from pki.address import Host
    from pki.policy import Peer

ASKERS: Final = frozenset({Role.APP, Role.ADMIN})
BEARER: Final = "bearer "


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever asks: by name, with the key that it has shown, if any."""

    name: str
    key: ApiKey | None = None
    peer: Peer | None = None
    """Its certificate, when it came by that."""
    may_move_models: bool = False

    def require_models_write(self) -> None:
        """Raise PermissionDenied unless it may load, pull and delete models."""
        if not self.may_move_models:
            raise PermissionDenied(
                f"this takes a key with the scope {Scope.MODELS_WRITE}; `hubspoke key create NAME --scope {Scope.MODELS_WRITE}`"
            )


class Door:
    """Lets in who may come in. A browser is not to be trusted to know whom it speaks for: web pages need leave."""

    def __init__(
        self,
        settings: GatewayConfig,
        hosts: Iterable[Host],
        *,
        keys: Keys,
        identities: Identities,
        live: Live,
        audit: Audit,
    ) -> None:
        self._is_keyless = settings.keyless
        self._origins = frozenset(canonical_origin(origin) for origin in settings.origins)
        self._hosts = frozenset({"localhost", *(host.lower() for host in (*hosts, *settings.hosts))})
        self._keys = keys
        self._identities = identities
        self._live = live
        self._audit = audit

    def check(self, exchange: Exchange) -> None:
        """Raise for what nobody may do, whoever it is: LoopDetected, InvalidRequest or PermissionDenied."""
        if HOP_HEADER in exchange.headers:
            raise LoopDetected(
                "this request comes from a mesh already; a mesh must not be an engine of a mesh"
            )
        host = exchange.headers.get("host", "")
        if not self._is_ours(host):
            raise InvalidRequest(
                f"this gateway is not called {host[:100]!r}; add the name to gateway.hosts if it is meant"
            )
        origin = exchange.headers.get("origin", "").lower()
        # A page has the gateway's own origin only when the gateway has served it.
        own = {f"{scheme}://{host.lower()}" for scheme in ("http", "https")}
        if origin and origin not in self._origins | own:
            raise PermissionDenied(
                "web pages of other sites may not ask here; add the page to gateway.origins"
            )

    def admit(self, exchange: Exchange) -> Principal:
        """Say who asks; raise Unauthenticated or PermissionDenied."""
        shown = _shown_key(exchange)
        if shown:
            key = self._keys.authenticate(shown)
            return Principal(key.name, key, may_move_models=Scope.MODELS_WRITE in key.scopes)
        if exchange.peer_certificate is not None:
            return self._by_certificate(exchange.peer_certificate)
        if self._is_keyless and exchange.is_from_here:
            return Principal("this machine")
        raise Unauthenticated(
            "an API key is needed: send it as `Authorization: Bearer ...` or `x-api-key`; `hubspoke key create` makes one"
        )

    def attend(self, exchange: Exchange, principal: Principal) -> AbstractContextManager[object]:
        """Give the block in which *principal* is served; the exchange is interrupted when its certificate stops to count."""
        if principal.peer is None:
            return nullcontext()
        return self._live.call(principal.peer, interrupt=exchange.interrupt)

    def note(self, exchange: Exchange, refused: MeshError) -> None:
        """Put into the audit log that somebody was turned away."""
        facts = {"path": exchange.path, "why": refused.message}
        self._audit.note_often("gateway.denied", peer=exchange.address, reason=refusal_of(refused), **facts)

    def _by_certificate(self, der: bytes) -> Principal:
        leaf = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
        peer = self._identities.authenticate(leaf)
        identity = peer.identity
        if identity.role not in ASKERS:
            raise PermissionDenied(f"a {identity.role} may not ask; use the identity of an app")
        return Principal(identity.name, peer=peer, may_move_models=identity.role is Role.ADMIN)

    def _is_ours(self, host: str) -> bool:
        """Whether *host* names this gateway. An address always does: a page cannot make a browser lie about that."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return name in self._hosts or bool(ipaddress.ip_address(name))
        except ValueError:  # a name, or nothing that anybody is called
            return False


def canonical_origin(origin: str) -> str:
    """Give *origin* as browsers send it."""
    return origin.rstrip("/").lower()


def _shown_key(exchange: Exchange) -> str:
    authorization = exchange.headers.get("authorization", "")
    if authorization[: len(BEARER)].lower() == BEARER:
        return authorization[len(BEARER) :].strip()
    return exchange.headers.get("x-api-key", "").strip()
