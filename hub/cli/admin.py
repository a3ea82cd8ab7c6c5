"""`hub-server admin`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hub.identities import Identities
from hub.store.mesh import Store
from hubspoke import loop
from hubspoke.cli import options
from hubspoke.clock import SystemClock
from hubspoke.paths import locate
from pki.files import HubFiles, NodeFiles
from pki.policy import identity_of

if TYPE_CHECKING:
    from pathlib import Path

    from pki.credential import StoredIdentity


@click.command("admin")
@options.state_dir
def command(*, state_dir: Path | None) -> None:
    """Give the admin on this machine a new identity, when the old one has ended or is lost.

    Whoever can read the hub's keys may do this; the hub may be running.
    """
    places = locate(state_dir)
    client = NodeFiles(places.client)
    identity = loop.run(lambda: reissue(HubFiles(places.hub), client))
    click.echo(
        f"{identity.identity.name!r} has a new identity in {client.directory}, until "
        f"{identity.not_after:%Y-%m-%d %H:%M} UTC; using it renews it."
    )


async def reissue(hub: HubFiles, client: NodeFiles) -> StoredIdentity:
    """Make a new key and certificate for the mesh's first admin, and store them in *client*."""
    clock = SystemClock()
    store = await Store.open(hub.state)
    try:
        issuer = hub.authorities.load_node_issuer()
        identities = Identities(store, issuer, hub.load_anchors(now=clock.now()), clock)
        key = client.request_key()
        issued = await identities.reissue(key.public_key(), identity_of(hub.authorities.load_admin().leaf))
        return client.adopt(issued.chain_pem, issued.anchors_pem, now=clock.now())
    finally:
        await store.close()
