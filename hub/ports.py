"""The hub's two ports: one that everybody may ask for a certificate, and one for whoever has one."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import grpc

from hub.rpc.admin import AdminService
from hub.rpc.authorities import AuthoritiesService
from hub.rpc.delegation import DelegationService
from hub.rpc.enrolment import EnrolmentService
from hub.rpc.identity import IdentityService
from hub.rpc.inference import InferenceService
from hub.rpc.interceptors import enrol_gate, mesh_gate
from hub.rpc.keys import KeysService
from hub.rpc.limits import NodeLimits, StrangerLimits
from hub.rpc.live import CALLS_PER_NODE_MAX
from hub.rpc.mesh import MeshService
from hub.rpc.models import ModelsService
from hub.rpc.nodes import NodesService
from hub.whereabouts import Whereabouts, addresses_of
from hubspoke import notify
from hubspoke.channel import COMMON_OPTIONS, KEEPALIVE_OPTIONS
from hubspoke.errors import InvalidRequest
from pki.hosts import machine_hosts

if TYPE_CHECKING:
    from hub.admissions import Admissions
    from hub.audit import Audit
    from hub.authorities import Authorities, Standing
    from hub.certificate import Certificate
    from hub.config import HubConfig
    from hub.delegations.delegations import Delegations
    from hub.dispatch.journey import Dispatch
    from hub.dispatch.upkeep import Upkeep
    from hub.identities import Identities
    from hub.keys import Keys
    from hub.relay.held import HeldTasks
    from hub.relay.sessions import Sessions
    from hub.rpc.live import Live
    from hub.store.mesh import Store
    from hubspoke.clock import Clock

log = logging.getLogger(__name__)

ENROL_MESSAGE_BYTES_MAX: Final = 16 * 1024
ENROL_CALLS_MAX: Final = 32
"""Calls of strangers that are served at a time; more are refused."""
ENROL_IDLE_MS: Final = 30_000
"""A stranger's connection without a call is closed after this."""
ENROL_CALLS_PER_CONNECTION_MAX: Final = 8
ENROL_CONNECTIONS_MAX: Final = 1_024
MESH_CONNECTIONS_MAX: Final = 4_096
"""Connections beyond these are closed before anything is said. Those that never finish their handshake end by themselves."""
HANDSHAKE_TIMEOUT_MS: Final = 5_000

STOP_GRACE_S: Final = 10.0
"""For answers that are under way when the hub is stopped."""

SERVER_OPTIONS: Final[tuple[tuple[str, int | str], ...]] = (
    # A second hub on the same port would take half of the connections.
    ("grpc.so_reuseport", 0),
    # Otherwise a socket that never says hello stays open for two minutes.
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_TIMEOUT_MS),
    # Peers ping every 10 s; gRPC's own limit would call that abuse.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
)

MESH_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    # Of a machine that was too busy to ping, or asleep, several pings come at once: no reason to let a spoke go.
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.max_concurrent_streams", CALLS_PER_NODE_MAX),
    ("grpc.max_allowed_incoming_connections", MESH_CONNECTIONS_MAX),
)


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports that a running hub listens on."""

    mesh: int
    enrol: int
    gateway: tuple[int, ...] = ()
    """The HTTP gateway's, and its second one for Ollama's clients; none without a gateway."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the hub's services share."""

    clock: Clock
    store: Store
    identities: Identities
    admissions: Admissions
    keys: Keys
    live: Live
    audit: Audit
    sessions: Sessions
    dispatch: Dispatch
    upkeep: Upkeep
    held: HeldTasks
    authorities: Authorities
    delegations: Delegations


class Servers:
    """The two ports: one that everybody may ask for a certificate, and one for whoever has one."""

    def __init__(
        self, settings: HubConfig, certificate: Certificate, parts: Parts, standing: Standing
    ) -> None:
        clock, identities, audit = parts.clock, parts.identities, parts.audit
        self._hub_name = certificate.identity.identity.name
        self._mesh = grpc.aio.server(
            interceptors=(mesh_gate(identities, parts.live, NodeLimits(clock), audit),),
            options=(*COMMON_OPTIONS, *SERVER_OPTIONS, *MESH_OPTIONS),
        )
        enrol_options = (
            *KEEPALIVE_OPTIONS,
            *SERVER_OPTIONS,
            ("grpc.max_receive_message_length", ENROL_MESSAGE_BYTES_MAX),
            ("grpc.max_connection_idle_ms", ENROL_IDLE_MS),
            ("grpc.max_concurrent_streams", ENROL_CALLS_PER_CONNECTION_MAX),
            ("grpc.max_allowed_incoming_connections", ENROL_CONNECTIONS_MAX),
        )
        self._enrol = grpc.aio.server(
            interceptors=(enrol_gate(StrangerLimits(clock), audit),),
            options=enrol_options,
            maximum_concurrent_rpcs=ENROL_CALLS_MAX,
        )
        mesh_credentials = certificate.server_credentials(identities.clients_pem)
        enrol_credentials = certificate.server_credentials(None)
        self.ports = Ports(
            mesh=_bind(self._mesh, settings.listen, settings.mesh_port, mesh_credentials),
            enrol=_bind(self._enrol, settings.listen, settings.enrol_port, enrol_credentials),
        )
        self.hosts = settings.advertise or machine_hosts()
        """What the hub's machine is called, best first."""
        own = addresses_of(self.hosts, self.ports.mesh, self.ports.enrol)
        self.whereabouts = Whereabouts(own, standing)
        """Where nodes find the mesh."""
        self._serve(parts)

    async def start(self) -> None:
        """Let callers in."""
        await self._mesh.start()
        await self._enrol.start()
        own = self.whereabouts.own
        log.info(
            "hub ready",
            extra={"hub": self._hub_name, "mesh": own.mesh, "enrol": own.enrol},
        )
        notify.ready(f"listening on ports {self.ports.mesh} and {self.ports.enrol}")

    async def stop(self, sessions: Sessions, grace_s: float = STOP_GRACE_S) -> None:
        """Let nobody in any more, let answers that are under way end within *grace_s*, then let the spokes go."""
        log.info("hub stopping", extra={"grace_s": grace_s})
        if grace_s:  # else this is no end of the process: a service manager would kill it some time later
            notify.stopping("answers that are under way may end")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._enrol.stop(grace_s))
            group.create_task(self._mesh.stop(grace_s))
            with suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await sessions.drain()
            sessions.close()

    def _serve(self, parts: Parts) -> None:
        """Put every service on its port."""
        clock, sessions, dispatch, identities = parts.clock, parts.sessions, parts.dispatch, parts.identities
        EnrolmentService(parts.admissions, self.whereabouts).add_to(self._enrol)
        IdentityService(identities, self.whereabouts, clock).add_to(self._mesh)
        MeshService(
            sessions,
            dispatch,
            parts.held,
            store=parts.store,
            identities=identities,
            clock=clock,
            audit=parts.audit,
            hub_name=self._hub_name,
        ).add_to(self._mesh)
        InferenceService(dispatch, sessions, clock).add_to(self._mesh)
        ModelsService(parts.upkeep, parts.audit).add_to(self._mesh)
        DelegationService(parts.delegations).add_to(self._mesh)
        KeysService(parts.keys, parts.audit).add_to(self._mesh)
        NodesService(identities, parts.admissions).add_to(self._mesh)
        AuthoritiesService(parts.authorities).add_to(self._mesh)
        AdminService(sessions, parts.admissions, clock, self.whereabouts).add_to(self._mesh)


def _bind(server: grpc.aio.Server, host: str, port: int, credentials: grpc.ServerCredentials) -> int:
    try:
        return server.add_secure_port(f"{host}:{port}", credentials)
    except RuntimeError as error:
        raise InvalidRequest(
            f"cannot listen on {host}:{port}; is another hub running, or the address not this machine's?"
        ) from error
