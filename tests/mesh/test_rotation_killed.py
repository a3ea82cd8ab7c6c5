"""A hub that is killed with each file that it writes while it exchanges its root: the next one goes on where it was."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from hubspoke.admin import AdminClient
from hubspoke.clock import SystemClock
from pki.files import HubFiles
from pki.rotation import Numbers
from tests.fakes.home import ROOT
from tests.fakes.hub import make_mesh
from tests.fakes.real_hub import FREE_PORTS, hub_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal"),
    # Each death is a hub that starts, and two more after it.
    pytest.mark.timeout(900),
]

CHILD_S_MAX = 60.0
STRIDE = int(os.environ.get("HUBSPOKE_KILL_STRIDE", "8"))
"""How many of the files that a hub writes lie between two of its deaths: with 1 it dies with each."""


async def is_killed(directory: Path, moment: int) -> bool:
    """Have a hub exchange its root as far as it comes until *moment*; give False if it came to the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.fakes.doomed_hub", str(directory), str(moment)),
        cwd=ROOT,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(CHILD_S_MAX):
        _, errors = await process.communicate()
    assert process.returncode in {0, -signal.SIGKILL}, errors.decode()
    return process.returncode != 0


def require_whole(hub: HubFiles) -> None:
    """Whatever phase the record names, all that it takes is there and can be read."""
    files = hub.authorities
    assert files.load_roots()
    assert files.load_node_issuers()
    assert files.load_node_issuer()
    assert files.load_hub_issuer()
    assert hub.load_anchors(now=datetime.now(UTC))
    assert hub.load_identity()


async def goes_on_after_a_death(directory: Path, moment: int) -> bool:
    """Let a hub die at *moment* of an exchange, and the next one end it; give False if the first came to the end."""
    made = make_mesh(directory)
    was_killed = await is_killed(directory, moment)
    require_whole(made.hub)
    if was_killed:
        assert not await is_killed(directory, 1_000_000)
        record = made.hub.authorities.load_record()
        assert (record.old, record.rotation) == (Numbers(2, 2, 2), None)
        async with (
            hub_of(made, directory, FREE_PORTS, SystemClock()) as hub,
            AdminClient(hub.admin.directory) as admin,
        ):
            assert len((await admin.authorities()).authorities) == 3
    return was_killed


async def test_an_exchange_goes_on_after_a_death_at_any_step(tmp_path: Path):
    moment, deaths = 1, 0
    while await goes_on_after_a_death(tmp_path / f"{moment}", moment):
        deaths += 1
        moment += STRIDE
    assert deaths >= 15 // STRIDE
