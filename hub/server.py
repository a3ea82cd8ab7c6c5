"""The hub: builds every part, serves two ports, and ends them in good order."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import grpc

from hub.admissions import Admissions
from hub.audit import Audit
from hub.authorities import Authorities
from hub.certificate import Certificate
from hub.delegations.building import Place, delegations_of
from hub.dispatch.journey import Dispatch
from hub.dispatch.upkeep import Upkeep
from hub.gateway.build import gateway
from hub.gateway.front import Front
from hub.gateway.names import Names
from hub.identities import Identities
from hub.keys import Keys
from hub.relay.held import HeldTasks
from hub.relay.sessions import Sessions
from hub.rpc.admin import AdminService
from hub.rpc.authorities import AuthoritiesService
from hub.rpc.delegation import DelegationService
from hub.rpc.enrolment import EnrolmentService
from hub.rpc.identity import IdentityService
from hub.rpc.inference import InferenceService
from hub.rpc.interceptors import enrol_gate, mesh_gate
from hub.rpc.keys import KeysService
from hub.rpc.limits import NodeLimits, StrangerLimits
from hub.rpc.live import CALLS_PER_NODE_MAX, Live
from hub.rpc.mesh import MeshService
from hub.rpc.models import ModelsService
from hub.rpc.nodes import NodesService
from hub.store.database import Database
from hub.store.keys import KeyStore
from hub.store.mesh import Store
from hub.store.nodes import NodeStore
from hub.store.tokens import TokenStore
from hub.trust import trust_of
from hubspoke import notify
from hubspoke.channel import COMMON_OPTIONS, KEEPALIVE_OPTIONS
from hubspoke.errors import InvalidRequest, StoreFailed
from pki.address import address
from pki.authority_files import ROOT
from pki.errors import UnsafeKeyFile
from pki.hosts import machine_hosts
from pki.policy import serial_hex
from pki.tokens import ADDRESSES_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from hub.config import Configuration, HubConfig
    from hub.delegations.delegations import Delegations
    from hub.gateway.listening import Listener
    from hub.trust import Trust
    from hubspoke.clock import Clock
    from pki.address import Address, Host
    from pki.files import HubFiles

log = logging.getLogger(__name__)

SWEEP_S: Final = 0.5
IDENTITIES_SWEEP_S: Final = 5.0
"""How long a call goes on at most that was good when it began and is not any more."""

SAVE_S: Final = 30.0
"""How often measured speeds go to the store."""

STOP_GRACE_S: Final = 10.0
"""For answers that are under way when the hub is stopped."""

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


@asynccontextmanager
async def running(
    told: Configuration,
    files: HubFiles,
    clock: Clock,
    chance: Callable[[], float],
) -> AsyncIterator[Ports]:
    """Run a hub for as long as the block lasts. *chance* gives a number in [0, 1)."""
    authorities = files.authorities
    async with _audited(files, clock) as audit, _stored(files) as database:
        certificate = Certificate(files, clock)
        store, live = Store(database), Live(audit)
        identities = await _identities(database, trust_of(files, clock), clock, live, audit)
        admissions = await _admissions(database, identities, clock, audit, needs_approval=told.hub.approve)
        await identities.adopt(authorities.load_admin())
        sessions = Sessions(clock, None if told.hub.flush_ms is None else told.hub.flush_ms / 1_000)
        dispatch, upkeep = Dispatch(sessions, clock), Upkeep(sessions, store, clock)
        keys = Keys(KeyStore(database), clock)
        await keys.load()
        held = HeldTasks(sessions)
        place = Place(certificate.identity.identity.name, files.directory, clock)
        async with delegations_of(told, place, dispatch, sessions, held) as delegations:
            parts = Parts(
                clock,
                store,
                identities,
                admissions,
                keys,
                live,
                audit,
                sessions,
                dispatch,
                upkeep,
                held,
                Authorities(files, clock, identities, certificate, live=live, audit=audit),
                delegations,
            )
            servers = Servers(told.hub, certificate, parts)
            listener = _listener(told, parts, servers.hosts, files) if told.gateway.enabled else None
            if listener is not None:
                parts.authorities.followers.append(listener.look)
            async with _serving(parts, servers, listener, certificate.keep_fresh(chance)) as ports:
                yield ports
        await _save(dispatch, store, keys)


@asynccontextmanager
async def _serving(
    parts: Parts, servers: Servers, listener: Listener | None, renewal: Coroutine[None, None, None]
) -> AsyncIterator[Ports]:
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_sweep(parts.sessions)),
            group.create_task(_sweep_identities(parts.identities)),
            group.create_task(_save_now_and_then(parts.dispatch, parts.store, parts.keys)),
            group.create_task(renewal),
            group.create_task(notify.keep_alive()),
            group.create_task(parts.delegations.keep_going()),
        ]
        await servers.start()
        serving = None if listener is None else group.create_task(listener.run())
        try:
            yield servers.ports if listener is None else replace(servers.ports, gateway=listener.ports)
        finally:
            parts.delegations.let_watchers_go()
            if listener is not None and serving is not None:
                listener.stop()
                await asyncio.wait({serving})
            await servers.stop(parts.sessions)
            for task in tasks:
                task.cancel()


class Servers:
    """The two ports: one that everybody may ask for a certificate, and one for whoever has one."""

    def __init__(self, settings: HubConfig, certificate: Certificate, parts: Parts) -> None:
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
        self._mesh_addresses = _addresses(self.hosts, self.ports.mesh)
        self._enrol_addresses = _addresses(self.hosts, self.ports.enrol)
        self._serve(parts)

    async def start(self) -> None:
        """Let callers in."""
        await self._mesh.start()
        await self._enrol.start()
        log.info(
            "hub ready",
            extra={"hub": self._hub_name, "mesh": self._mesh_addresses, "enrol": self._enrol_addresses},
        )
        notify.ready(f"listening on ports {self.ports.mesh} and {self.ports.enrol}")

    async def stop(self, sessions: Sessions) -> None:
        """Let nobody in any more, let answers that are under way end, then let the spokes go."""
        log.info("hub stopping", extra={"grace_s": STOP_GRACE_S})
        notify.stopping("answers that are under way may end")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._enrol.stop(STOP_GRACE_S))
            group.create_task(self._mesh.stop(STOP_GRACE_S))
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_GRACE_S):
                    await sessions.drain()
            sessions.close()

    def _serve(self, parts: Parts) -> None:
        """Put every service on its port."""
        clock, sessions, dispatch, identities = parts.clock, parts.sessions, parts.dispatch, parts.identities
        EnrolmentService(parts.admissions, self._mesh_addresses).add_to(self._enrol)
        IdentityService(identities, clock).add_to(self._mesh)
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
        AdminService(sessions, parts.admissions, clock, self._enrol_addresses).add_to(self._mesh)


@asynccontextmanager
async def _audited(files: HubFiles, clock: Clock) -> AsyncIterator[Audit]:
    files.authorities.require()
    with Audit.open(files.directory, clock) as audit:
        _require_private(files, audit)
        if audit.is_new:
            root = files.authorities.load_certificate(ROOT)
            audit.note("pki.init", serial=serial_hex(root), made_at=root.not_valid_before_utc.isoformat())
        audit.note("hub.start", version=version("hubspoke"))
        try:
            yield audit
        finally:
            audit.note("hub.stop")


def _require_private(files: HubFiles, audit: Audit) -> None:
    try:
        files.require_private()
    except UnsafeKeyFile as error:
        audit.note("keyfile.bad_perms", why=str(error))
        raise


@asynccontextmanager
async def _stored(files: HubFiles) -> AsyncIterator[Database]:
    database = await Database.open(files.state)
    try:
        yield database
    finally:
        await database.close()


async def _identities(database: Database, trust: Trust, clock: Clock, live: Live, audit: Audit) -> Identities:
    nodes = NodeStore(database)
    await nodes.purge(clock.now().timestamp())
    identities = Identities(nodes, trust, clock, live, audit)
    await identities.load()
    return identities


async def _admissions(
    database: Database, identities: Identities, clock: Clock, audit: Audit, *, needs_approval: bool
) -> Admissions:
    tokens = TokenStore(database)
    await tokens.purge(clock.now().timestamp())
    return Admissions(tokens, identities, clock, audit, needs_approval=needs_approval)


async def _sweep_identities(identities: Identities) -> None:
    while True:
        await asyncio.sleep(IDENTITIES_SWEEP_S)
        with suppress(StoreFailed):  # which has said so, and may be over by the next time
            await identities.sweep()


def _listener(told: Configuration, parts: Parts, hosts: tuple[Host, ...], files: HubFiles) -> Listener:
    names = Names(parts.sessions, parts.clock, told.gateway.aliases, told.roles.models)
    return gateway(
        told.gateway,
        Front(parts.dispatch, parts.upkeep, names, keys=parts.keys, audit=parts.audit, clock=parts.clock),
        keys=parts.keys,
        identities=parts.identities,
        live=parts.live,
        audit=parts.audit,
        files=files,
        hosts=hosts,
        clock=parts.clock,
    )


async def _sweep(sessions: Sessions) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        sessions.sweep()


async def _save(dispatch: Dispatch, store: Store, keys: Keys) -> None:
    measured = dispatch.take_measured()
    try:
        await store.save_speeds(measured)
        await keys.save()
    except StoreFailed:
        dispatch.keep_measured(measured)  # figures can wait; the store has logged why


async def _save_now_and_then(dispatch: Dispatch, store: Store, keys: Keys) -> None:
    while True:
        await asyncio.sleep(SAVE_S)
        await _save(dispatch, store, keys)


def _bind(server: grpc.aio.Server, host: str, port: int, credentials: grpc.ServerCredentials) -> int:
    try:
        return server.add_secure_port(f"{host}:{port}", credentials)
    except RuntimeError as error:
        raise InvalidRequest(
            f"cannot listen on {host}:{port}; is another hub running, or the address not this machine's?"
        ) from error


def _addresses(hosts: tuple[Host, ...], port: int) -> tuple[Address, ...]:
    return tuple(address(host, port) for host in hosts[:ADDRESSES_MAX])
