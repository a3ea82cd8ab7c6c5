"""The ports of the gateway: uvicorn in the hub's own event loop, plain on the loopback and TLS everywhere else."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from hub.gateway.connection import Connection
from hubspoke.errors import InvalidRequest
from pki import disk
from pki.errors import PkiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from starlette.types import ASGIApp

    from hub.config import GatewayConfig

KEEP_ALIVE_S: Final = 75
"""How long an idle connection is kept; clients' pools close theirs earlier, so that none meets a closing one."""
STOP_GRACE_S: Final = 10.0
"""How long answers may go on when the hub stops, before they end with an error."""
TELL_S: Final = 2
"""How long those errors may take on their way, and requests that were never whole."""
CONNECTIONS_SPARE: Final = 256
"""Connections that may be open beyond those of the requests that are served at a time; clients keep idle ones."""
BACKLOG: Final = 256
HANDSHAKE_S_MAX: Final = 5.0
"""How long a client may take for its TLS handshake."""
CERTIFICATE_LOOK_S: Final = 60.0
"""How often to see whether the certificate's file has changed."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tls:
    """What an HTTPS port shows, and the authorities (PEM) whose client certificates it takes."""

    certificate: Path
    key: Path
    client_anchors_pem: Callable[[], str]
    renew: Callable[[], None]
    """Brings new files into place when it is time to."""

    def context(self) -> ssl.SSLContext:
        """Make the settings of a port; raise InvalidRequest when the files cannot be used."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["http/1.1"])
        # A certificate is welcome and not needed: most clients come with a key.
        context.verify_mode = ssl.CERT_OPTIONAL
        # The node-issuing authority is no root; it alone is to be trusted here.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=self.client_anchors_pem())
        try:
            disk.require_unread(self.key)
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise InvalidRequest(f"the gateway's certificate cannot be used: {error}") from error
        return context

    def stamp(self) -> tuple[int, int, str]:
        """Renew what is due, and say what tells one state of it all from another; OSError for files that are not there."""
        self.renew()
        return self.certificate.stat().st_mtime_ns, self.key.stat().st_mtime_ns, self.client_anchors_pem()


class Shown:
    """What the port shows now. A handshake takes what is newest when it begins; connections stay as they are."""

    def __init__(self, tls: Tls) -> None:
        tls.renew()
        self._tls = tls
        self._newest = tls.context()
        self._stamp = tls.stamp()
        self.context = tls.context()
        """What the port is opened with; it hands every handshake on to the newest."""
        self.context.sni_callback = self._hand_on

    def look(self) -> None:
        """Take over what has changed; what cannot be used leaves everything as it is."""
        try:
            stamp = self._tls.stamp()
            if stamp != self._stamp:
                self._newest, self._stamp = self._tls.context(), stamp
                log.info("gateway certificate renewed")
        except (OSError, InvalidRequest, PkiError) as error:
            log.warning("gateway certificate not renewed", extra={"why": str(error)})

    def _hand_on(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str, _own: ssl.SSLContext) -> None:
        connection.context = self._newest


class Server(uvicorn.Server):
    """Leaves signals to the hub, which owns them."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.servers: list[asyncio.Server] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve on *sockets* as uvicorn does, but give a TLS handshake less than the minute that it has otherwise."""
        await self.lifespan.startup()
        loop, config = asyncio.get_running_loop(), self.config
        connection = partial(
            Connection,
            config=config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        limit_s = None if config.ssl is None else HANDSHAKE_S_MAX
        self.servers = [
            await loop.create_server(
                connection, sock=taken, ssl=config.ssl, backlog=BACKLOG, ssl_handshake_timeout=limit_s
            )
            for taken in sockets or ()
        ]
        self.started = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class Listener:
    """The gateway's ports, which are taken at once, and served while `run` lasts."""

    def __init__(
        self,
        settings: GatewayConfig,
        app: ASGIApp,
        tls: Tls,
        *,
        common: Mapping[str, str],
        interrupt: Callable[[], None],
    ) -> None:
        """Take the ports. *common* are headers of every response; *interrupt* ends all that is served, with an error."""
        wanted = [settings.port] if settings.ollama_port is None else [settings.port, settings.ollama_port]
        self._shown = None if is_loopback(settings.listen) else Shown(tls)
        self._sockets = [_bind(settings.listen, port) for port in wanted]
        self._server = Server(
            _config(settings, app, None if self._shown is None else self._shown.context, common)
        )
        self._interrupt = interrupt
        self._last_call: asyncio.TimerHandle | None = None
        self.ports: tuple[int, ...] = tuple(taken.getsockname()[1] for taken in self._sockets)
        """The ports, in the order of the settings."""

    @property
    def scheme(self) -> str:
        """How to speak to it."""
        return "http" if self._shown is None else "https"

    async def run(self) -> None:
        """Serve until `stop`; answers that are under way then end within `STOP_GRACE_S`, or with an error."""
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch())
                await self._server.serve(self._sockets)
                watching.cancel()
        except asyncio.CancelledError:
            self.close()  # uvicorn leaves its ports open
            raise
        finally:
            if self._last_call is not None:
                self._last_call.cancel()

    def close(self) -> None:
        """Shut the ports at once, and end what is under way with an error."""
        self._interrupt()
        for server in self._server.servers:
            server.close()
        for taken in self._sockets:
            taken.close()
        for connection in list(self._server.server_state.connections):
            connection.shutdown()

    async def look(self) -> None:
        """Show a certificate that was renewed or exchanged meanwhile, the mesh's own or the operator's."""
        if self._shown is not None:
            await asyncio.to_thread(self._shown.look)

    def stop(self) -> None:
        """Let nobody in any more, and let `run` come to its end."""
        self._server.should_exit = True
        self._last_call = asyncio.get_running_loop().call_later(STOP_GRACE_S, self._interrupt)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(CERTIFICATE_LOOK_S)
            await self.look()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches *host*."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _config(
    settings: GatewayConfig, app: ASGIApp, context: ssl.SSLContext | None, common: Mapping[str, str]
) -> uvicorn.Config:
    more: dict[str, Any] = (
        {} if context is None else {"ssl_context_factory": lambda _config, _default: context}
    )
    return uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # or anybody could pretend to be on this machine
        server_header=False,
        headers=list(common.items()),
        limit_concurrency=settings.requests_max + CONNECTIONS_SPARE,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=round(STOP_GRACE_S) + TELL_S,
        **more,
    )


def _bind(host: str, port: int) -> socket.socket:
    bare = host.strip("[]")
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind((bare, port))
    except OSError as error:
        made.close()
        raise InvalidRequest(
            f"the gateway cannot listen on {host}:{port}: {error.strerror}; is something else there? "
            "Choose another gateway.port, or switch it off with gateway.enabled = false"
        ) from error
    return made
