"""What the runbook in docs/security.md says happens: a hub from a back-up, and a mesh that was off for a year."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from hub.cli.admin import reissue
from hub.config import DatabaseConfig
from hubspoke import enrol
from hubspoke.admin import AdminClient
from hubspoke.cli.status import locked
from hubspoke.client import MeshClient
from hubspoke.clock import SystemClock
from hubspoke.diagnosis.node import reason
from hubspoke.errors import Unauthenticated
from hubspoke.rejoin import valid_identity
from hubspoke.types import KeyPlan, NodeState
from pki.identity import Role
from tests.fakes.hub import make_mesh
from tests.fakes.real_hub import FREE_PORTS, hub_of, real_hub, started_again

if TYPE_CHECKING:
    from pathlib import Path

    from pki.files import NodeFiles
    from tests.fakes.real_hub import RealHub

LONG_AGO = timedelta(days=400)
MEND = "`hubspoke revoke renews`, `hubspoke token create renews --role app`, and join with `--replace`"


async def renew(hub: RealHub, files: NodeFiles) -> None:
    async with await hub.channel(files) as channel:
        await enrol.renew(channel, files, files.load_identity(), SystemClock())


async def join_anew(hub: RealHub, files: NodeFiles, role: Role) -> None:
    async with AdminClient(hub.admin.directory) as admin:
        token = (await admin.create_join_token(files.directory.name, role)).text
    await enrol.join(token, files.directory, roles=[role], clock=SystemClock(), replace=True)


async def works(files: NodeFiles) -> bool:
    try:
        async with MeshClient(files.directory) as client:
            await client.models()
    except Unauthenticated:
        return False
    return True


async def states(hub: RealHub) -> dict[str, NodeState]:
    async with AdminClient(hub.admin.directory) as admin:
        return {node.identity.name: node.state for node in await admin.nodes()}


async def test_what_a_restored_hub_does_not_know_has_to_be_done_again(tmp_path: Path) -> None:
    state, copy = tmp_path / "hub", tmp_path / "copy"
    async with real_hub(tmp_path) as hub:
        renews, revoked = [await hub.join(name, Role.APP) for name in ("renews", "revoked")]
    shutil.copytree(state, copy)
    async with started_again(hub):
        await renew(hub, renews)
        late = await hub.join("late", Role.APP)
        async with AdminClient(hub.admin.directory) as admin:
            await admin.revoke("revoked")
            await admin.create_key(KeyPlan("since"))
    shutil.rmtree(state)
    copy.rename(state)
    async with started_again(hub):
        assert [await works(files) for files in (renews, revoked, late)] == [True, True, False]
        with pytest.raises(Unauthenticated, match="hubspoke nodes list"):
            await renew(hub, renews)
        told = await reason(renews, [hub.mesh], SystemClock().now())
        assert "`hubspoke nodes list`" in told
        async with AdminClient(hub.admin.directory) as admin:
            assert await admin.keys() == ()
            (node,) = [node for node in await admin.nodes() if node.state is NodeState.LOCKED]
            assert "put back from an older copy" in node.why
            assert MEND in node.why
            assert list(locked(await admin.nodes())) == [f"renews is locked: {node.why}"]
            # What would let a copied node in again is of no use here.
            await admin.unlock("renews")
            with pytest.raises(Unauthenticated):
                await renew(hub, renews)
            await admin.revoke("renews")
        for files in (renews, late):
            await join_anew(hub, files, Role.APP)
            assert await works(files)


async def test_a_mesh_that_was_off_for_a_year_takes_an_admin_and_tokens_and_nothing_else(
    tmp_path: Path,
) -> None:
    made = make_mesh(tmp_path, made_at=datetime.now(UTC) - LONG_AGO)
    async with hub_of(made, tmp_path, FREE_PORTS, SystemClock()) as hub:
        with pytest.raises(Unauthenticated, match="more than 90 days ago"):
            await valid_identity(made.admin, SystemClock())
        await reissue(DatabaseConfig(), made.hub, made.admin)
        files = await hub.join("laptop", Role.APP)
        assert await works(files)
