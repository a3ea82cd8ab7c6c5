"""A hub over its whole life: at once for one that has its files to itself, else whenever it has the lead."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from hub.delegations.delegations import load_engine
from hub.server import running
from hub.store.lead import Lead, LeadLost
from hub.store.ownership import owned
from hub.store.server import server_url
from hub.whereabouts import addresses_of
from hubspoke import notify
from pki import rotation
from pki.hosts import machine_hosts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from hub.config import Configuration
    from hubspoke.clock import Clock
    from pki.files import HubFiles

log = logging.getLogger(__name__)


async def serve(
    told: Configuration, files: HubFiles, stop: asyncio.Event, *, clock: Clock, chance: Callable[[], float]
) -> None:
    """Be a hub until *stop* is set. *chance* gives a number in [0, 1).

    Raise InvalidRequest when another hub runs on the same files, or under the same name in the same database.
    """
    files.authorities.require()
    async with owned(files.directory / "hub.lock"), asyncio.TaskGroup() as group:
        # The service manager hears that the loop is not stuck, whatever the hub is about to do.
        alive = group.create_task(notify.keep_alive())
        if told.database.url:
            await _serve_with_others(told, files, stop, clock, chance)
        else:
            async with running(told, files, clock, chance):
                await stop.wait()
        alive.cancel()


async def _serve_with_others(
    told: Configuration, files: HubFiles, stop: asyncio.Event, clock: Clock, chance: Callable[[], float]
) -> None:
    async with _joined(told, files, clock) as lead:
        while await _has_lead(lead, stop):
            try:
                # From now on, and to the end: to open everything may take longer than others wait for a beat.
                async with asyncio.TaskGroup() as group:
                    keeping = group.create_task(lead.keep())
                    async with running(told, files, clock, chance, lead):
                        await stop.wait()
                    keeping.cancel()
            except* LeadLost as lost:
                log.warning("lead lost", extra={"why": str(lost.exceptions[0])})


@asynccontextmanager
async def _joined(told: Configuration, files: HubFiles, clock: Clock) -> AsyncIterator[Lead]:
    name = files.load_identity().identity.name
    edition = rotation.edition(files.authorities.load_record())
    lead = Lead(server_url(told.database), name, edition, clock)
    async with AsyncExitStack() as leaving:
        leaving.push_async_callback(lead.close)
        await lead.join()
        settings = told.hub
        if settings.mesh_port and settings.enrol_port:  # so that nodes know where to go before they have to
            hosts = settings.advertise or machine_hosts()
            own = addresses_of(hosts, settings.mesh_port, settings.enrol_port)
            await lead.announce(own.mesh, own.enrol)
        yield lead


async def _has_lead(lead: Lead, stop: asyncio.Event) -> bool:
    """Stand by until this hub has the lead, or is to stop, and say which."""
    await asyncio.to_thread(load_engine)  # now there is time for it
    notify.ready("standing by, unless no other hub serves the mesh")
    async with asyncio.TaskGroup() as group:
        leading = group.create_task(lead.wait())
        stopping = group.create_task(stop.wait())
        await asyncio.wait((leading, stopping), return_when=asyncio.FIRST_COMPLETED)
        for task in (leading, stopping):
            task.cancel()
    return not stop.is_set()
