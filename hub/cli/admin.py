"""`hub-server admin`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from hub.audit import Audit
from hub.config import DatabaseConfig
from hub.identities import Identities
from hub.rpc.live import Live
from hub.store.nodes import NodeStore
from hub.store.state import open_state
from hub.trust import trust_of
from hubspoke import config, loop
from hubspoke.cli import options
from hubspoke.clock import SystemClock
from hubspoke.paths import locate
from pki.files import HubFiles, NodeFiles
from pki.policy import identity_of

if TYPE_CHECKING:
    from pathlib import Path

    from hub.store.database import Database
    from hubspoke.clock import Clock
    from pki.credential import StoredIdentity


@click.command("admin")
@options.config_file("hub")
@options.state_dir
def command(*, config_file: Path | None, state_dir: Path | None) -> None:
    """Give the admin on this machine a new identity, when the old one has ended or is lost.

    Whoever can read the hub's keys may do this; the hub may be running.
    """
    places = locate(state_dir)
    client = NodeFiles(places.client)
    file = config_file or places.hub.parent / options.CONFIG_FILE
    told = config.load(DatabaseConfig, "database", file, os.environ)
    identity = loop.run(lambda: reissue(told, HubFiles(places.hub), client))
    click.echo(
        f"{identity.identity.name!r} has a new identity in {client.directory}, until "
        f"{identity.not_after:%Y-%m-%d %H:%M} UTC; using it renews it."
    )


async def reissue(told: DatabaseConfig, hub: HubFiles, client: NodeFiles) -> StoredIdentity:
    """Make a new key and certificate for the mesh's first admin, and store them in *client*."""
    clock = SystemClock()
    async with open_state(told, hub.state) as database:
        with Audit.open(hub.directory, clock) as audit:
            return await _reissued(hub, client, database, clock, audit)


async def _reissued(
    hub: HubFiles, client: NodeFiles, database: Database, clock: Clock, audit: Audit
) -> StoredIdentity:
    identities = Identities(NodeStore(database), trust_of(hub, clock), clock, Live(audit), audit)
    key = client.request_key()
    issued = await identities.reissue(key.public_key(), identity_of(hub.authorities.load_admin().leaf))
    return client.adopt(issued.chain_pem, issued.anchors_pem, now=clock.now(), generation=issued.generation)
