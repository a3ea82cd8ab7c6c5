"""The hub: builds every part, serves two ports, and ends them in good order."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

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
from hub.ports import STOP_GRACE_S, Parts, Servers
from hub.relay.held import HeldTasks
from hub.relay.sessions import Sessions
from hub.rpc.live import Live
from hub.store.accepts import AcceptStore
from hub.store.keys import KeyStore
from hub.store.lead import Alone
from hub.store.mesh import Store
from hub.store.nodes import NodeStore
from hub.store.state import open_state
from hub.store.tokens import TokenStore
from hub.trust import trust_of
from hubspoke.errors import StoreFailed
from pki.authority_files import ROOT
from pki.errors import UnsafeKeyFile
from pki.policy import serial_hex

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable

    from hub.config import Configuration
    from hub.gateway.listening import Listener
    from hub.ports import Ports
    from hub.store.database import Database
    from hub.store.lead import Lead
    from hub.trust import Trust
    from hubspoke.clock import Clock
    from pki.address import Host
    from pki.files import HubFiles

log = logging.getLogger(__name__)

SWEEP_S: Final = 0.5
IDENTITIES_SWEEP_S: Final = 5.0
"""How long a call goes on at most that was good when it began and is not any more; how late a token's end is noted."""

SAVE_S: Final = 30.0
"""How often what was measured and learnt goes to the store."""

LAST_SAVE_S: Final = 3.0
"""How long that may take when the hub stops."""


@asynccontextmanager
async def running(
    told: Configuration,
    files: HubFiles,
    clock: Clock,
    chance: Callable[[], float],
    standing: Lead | Alone | None = None,
) -> AsyncIterator[Ports]:
    """Run a hub for as long as the block lasts. *chance* gives a number in [0, 1).

    A hub that shares its database has the lead, as *standing* says; whoever keeps that ends the block when it is lost.
    """
    standing = standing or Alone()
    authorities = files.authorities
    authorities.require()
    async with (
        _audited(files, clock) as audit,
        open_state(told.database, files.state) as database,
    ):
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
        accepts = AcceptStore(database, clock)
        known = await accepts.load()
        async with delegations_of(told, place, dispatch, sessions, held, accepts=known) as delegations:
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
                Authorities(files, clock, identities, certificate, live=live, audit=audit, standing=standing),
                delegations,
            )
            servers = Servers(told.hub, certificate, parts, standing)
            listener = _listener(told, parts, servers.hosts, files) if told.gateway.enabled else None
            if listener is not None:
                parts.authorities.followers.append(listener.look)
            tasks = (certificate.keep_fresh(chance), _save_now_and_then(parts, accepts))
            async with _serving(parts, servers, listener, tasks, standing) as ports:
                yield ports
        with suppress(TimeoutError):  # a server that does not answer must not keep the hub from its end
            async with asyncio.timeout(LAST_SAVE_S):
                await _save(parts, accepts)


@asynccontextmanager
async def _serving(
    parts: Parts,
    servers: Servers,
    listener: Listener | None,
    more: Iterable[Coroutine[None, None, None]],
    standing: Lead | Alone,
) -> AsyncIterator[Ports]:
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_sweep(parts.sessions)),
            group.create_task(_sweep_identities(parts.identities, parts.admissions)),
            group.create_task(parts.delegations.keep_going()),
            *map(group.create_task, more),
        ]
        try:
            await servers.start()
            own = servers.whereabouts.own
            await standing.announce(own.mesh, own.enrol)
            async with _listening(listener, standing):
                try:
                    yield (
                        servers.ports if listener is None else replace(servers.ports, gateway=listener.ports)
                    )
                finally:
                    parts.delegations.let_watchers_go()
                    if standing.is_lost:  # or it would take back what the other hub has just taken over
                        _cancel(tasks)
        finally:
            if listener is not None:
                listener.close()  # which may not even have begun
            # Whoever has lost the lead lets go at once: another hub waits for the spokes.
            await servers.stop(parts.sessions, 0.0 if standing.is_lost else STOP_GRACE_S)
            _cancel(tasks)


def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()


@asynccontextmanager
async def _listening(listener: Listener | None, standing: Lead | Alone) -> AsyncIterator[None]:
    if listener is None:
        yield
        return
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(listener.run())
        try:
            yield
        finally:
            if standing.is_lost:
                serving.cancel()
            else:
                listener.stop()
            await asyncio.wait({serving})


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


async def _sweep_identities(identities: Identities, admissions: Admissions) -> None:
    while True:
        await asyncio.sleep(IDENTITIES_SWEEP_S)
        with suppress(StoreFailed):  # which has said so, and may be over by the next time
            await identities.sweep()
            await admissions.sweep()


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


async def _save(parts: Parts, accepts: AcceptStore) -> None:
    measured = parts.dispatch.take_measured()
    try:
        await parts.store.save_speeds(measured)
        await parts.keys.save()
        await accepts.save(parts.delegations.accepts)
    except StoreFailed:
        parts.dispatch.keep_measured(measured)  # figures can wait; the store has logged why


async def _save_now_and_then(parts: Parts, accepts: AcceptStore) -> None:
    while True:
        await asyncio.sleep(SAVE_S)
        await _save(parts, accepts)
