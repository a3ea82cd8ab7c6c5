"""Nodes that are killed at each step of joining, renewing and coming back: files stay whole, and the next start goes on."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from itertools import count
from typing import TYPE_CHECKING

import pytest

from hub.store.database import Database
from hub.store.nodes import NodeStore
from hubspoke import enrol
from hubspoke.admin import AdminClient
from hubspoke.clock import SystemClock
from hubspoke.rejoin import valid_identity
from hubspoke.types import NodeState
from pki import bundle
from pki.credential import Credential
from pki.errors import NotEnrolled
from pki.files import NodeFiles
from pki.identity import Role
from tests.fakes.clock import MovableClock
from tests.fakes.home import ROOT
from tests.fakes.real_hub import RealHub, real_hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pki.credential import StoredIdentity

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal"),
    # A dozen processes and more, one after the other.
    pytest.mark.timeout(300),
]

CHILD_S_MAX = 60.0
TWO_DAYS_S = 2 * 86_400.0
NEVER = 1_000_000
ROUNDS = 3
PROCESSES = 4
STEPS_MIN = 8
"""Files that each of the three replaces, twice: a new one is opened, and takes the place of the old one."""


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def hub(tmp_path: Path, clock: MovableClock) -> AsyncIterator[RealHub]:
    async with real_hub(tmp_path, clock) as running:
        yield running


async def is_killed(
    what: str, files: NodeFiles, moment: int, *, token: str = "", ahead_s: float = 0.0
) -> bool:
    """Have another process do *what*, which dies at *moment*; give False if it had nothing left to do by then."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.fakes.doomed_node"),
        *(what, str(files.directory), str(moment), str(ahead_s)),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(CHILD_S_MAX):
        _, errors = await process.communicate(token.encode())
    assert process.returncode in {0, -signal.SIGKILL}, errors.decode()
    return process.returncode != 0


def require_whole(files: NodeFiles, clock: MovableClock) -> None:
    """Whatever is there can be read, belongs together, and is nobody else's to read."""
    try:
        identity = Credential.parse(files.identity.read_bytes())
    except FileNotFoundError:
        with pytest.raises(NotEnrolled):
            files.load_identity()
    else:
        bundle.require_anchored(identity.chain, files.load_anchors(now=clock.now()))
    for path in files.directory.iterdir() if files.directory.exists() else ():
        if "key" in path.name or "identity" in path.name or "token" in path.name:
            assert path.stat().st_mode & 0o077 == 0, path


async def the_node(hub: RealHub, name: str) -> tuple[NodeState, int]:
    async with AdminClient(hub.admin.directory) as admin:
        (found,) = [node for node in await admin.nodes() if node.identity.name == name]
        return found.state, found.generation


async def test_a_join_that_is_killed_at_any_step_goes_on_with_the_token_that_it_kept(
    hub: RealHub, clock: MovableClock
) -> None:
    for moment in count():
        name = f"den-{moment}"
        files = NodeFiles(hub.directory / name)
        async with AdminClient(hub.admin.directory) as admin:
            token = (await admin.create_join_token(name, Role.SPOKE)).text
        killed = await is_killed("join", files, moment, token=token)
        require_whole(files, clock)
        if not files.identity.exists():
            # Where no token was kept, nothing was sent: whoever has it pastes it again.
            kept = files.load_token() if files.directory.exists() else None
            await enrol.join(kept or token, files.directory, roles=[Role.SPOKE], clock=SystemClock())
            assert files.load_token() is None
        assert files.load_identity().identity.name == name
        assert await the_node(hub, name) == (NodeState.ACTIVE, 1)
        if not killed:
            assert moment >= STEPS_MIN
            return


async def test_a_renewal_that_is_killed_at_any_step_goes_on_and_looks_like_no_theft(
    hub: RealHub, clock: MovableClock
) -> None:
    files = await hub.join("den", Role.SPOKE)
    for moment in count():
        before = files.load_identity()
        clock.move(60.0)  # a node may renew twice a minute, and the time of day stays as it is
        clock.set_day(-60.0)
        killed = await is_killed("renew", files, moment)
        require_whole(files, clock)
        if files.load_identity().serial == before.serial:
            await renewed(hub, files, before)
        # One certificate each time: an answer that was lost with the process is given again.
        assert await the_node(hub, "den") == (NodeState.ACTIVE, moment + 2)
        if not killed:
            assert moment >= STEPS_MIN
            return


async def test_a_comeback_that_is_killed_at_any_step_goes_on_and_looks_like_no_theft(
    hub: RealHub, clock: MovableClock
) -> None:
    files = await hub.join("den", Role.SPOKE)
    ahead_s = 0.0
    for moment in count():
        clock.set_day(TWO_DAYS_S)
        ahead_s += TWO_DAYS_S
        killed = await is_killed("rejoin", files, moment, ahead_s=ahead_s)
        require_whole(files, clock)
        assert (await valid_identity(files, clock)).not_after > clock.now()
        if not killed:
            assert moment >= STEPS_MIN
            break
    # The hub's clock has gone ahead of what TLS goes by: its own store says what has become of the node.
    nodes = await nodes_in(hub)
    assert nodes["den"] == (NodeState.ACTIVE, moment + 2)


async def renewed(hub: RealHub, files: NodeFiles, current: StoredIdentity) -> StoredIdentity:
    async with await hub.channel(files) as channel:
        return await enrol.renew(channel, files, current, SystemClock())


async def nodes_in(hub: RealHub) -> dict[str, tuple[NodeState, int]]:
    database = await Database.open(hub.directory / "hub" / "state.db")
    nodes = await NodeStore(database).nodes()
    await database.close()
    return {node.identity.name: (node.state, node.generation) for node in nodes}


async def test_processes_that_share_an_identity_and_renew_at_once_do_not_look_like_thieves(
    hub: RealHub,
) -> None:
    files = await hub.join("den", Role.SPOKE)
    for _ in range(ROUNDS):
        await asyncio.gather(*(is_killed("renew", files, NEVER) for _ in range(PROCESSES)))
    state, generation = await the_node(hub, "den")
    # Whoever comes when another one is done renews once more.
    assert state is NodeState.ACTIVE
    assert ROUNDS < generation <= ROUNDS * PROCESSES + 1
    async with AdminClient(hub.admin.directory) as admin:
        (serial,) = [node.serial for node in await admin.nodes() if node.identity.name == "den"]
    assert files.load_identity().serial == serial
