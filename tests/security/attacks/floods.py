"""What is done too often, too long or not at all: silence, frozen machines, pings without end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from h2.errors import ErrorCodes

from hubspoke.types import SpokeState
from tests.fakes.stalls import awake
from tests.security.cases import Layer, case
from tests.security.raw import context, http2
from tests.security.yard import CALL_S, now, stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.security.yard import Yard

IDLE_SOCKETS = 400
SERVED_S = 1.0
"""While strangers do nothing, the others are served in less than this."""
HANDSHAKE = timedelta(seconds=5)
GONE = timedelta(seconds=15)
LATE = timedelta(seconds=10)
"""For a machine that has other things to do."""
START_S_MAX = 40.0
"""How long a spoke may take to start as a process."""
PINGS = 2_000


@case(52, f"{IDLE_SOCKETS} connections that never say hello", Layer.LIMIT)
async def idle_sockets(yard: Yard) -> str:
    began_at = now()
    async with AsyncExitStack() as opened:
        readers = []
        for _ in range(IDLE_SOCKETS):
            reader, writer = await asyncio.open_connection("127.0.0.1", yard.hub.ports.mesh)
            opened.callback(writer.close)
            readers.append(reader)
        async with awake() as counted:
            await yard.is_well()
        served_s = counted.passed_s
        async with asyncio.timeout((HANDSHAKE + LATE).total_seconds()):
            ends = await asyncio.gather(*(reader.read() for reader in readers), return_exceptions=True)
    assert all(end == b"" or isinstance(end, ConnectionError) for end in ends)
    assert served_s < SERVED_S, f"others waited {served_s:.1f} s"
    assert now() - began_at < HANDSHAKE + LATE
    return "closed"


@case(63, "a node that is frozen", Layer.HUB)
async def frozen(yard: Yard) -> str:
    files = await yard.node()
    name = files.load_identity().identity.name
    async with an_agent(yard, name) as process:
        await yard.hub.has_spoke(
            lambda spoke: (spoke.name, spoke.state) == (name, SpokeState.READY), START_S_MAX
        )
        frozen_at = now()
        os.kill(process.pid, signal.SIGSTOP)
        async with AsyncExitStack() as thawed:
            thawed.callback(os.kill, process.pid, signal.SIGCONT)
            async with asyncio.timeout((GONE + LATE).total_seconds()):
                await lost(yard, name)
            gone = now() - frozen_at
    assert gone < GONE + LATE
    return f"lost after {gone.total_seconds():.0f} s"


@case(64, "a client that pings without end", Layer.HUB_TLS)
async def pings(yard: Yard) -> str:
    settings = context(yard, None)
    async with http2(yard, settings, yard.hub.ports.enrol) as stranger:
        for _ in range(PINGS):
            stranger.connection.ping(bytes(8))
        stranger.send()
        end = await stranger.goaway()
    assert end.error_code == ErrorCodes.ENHANCE_YOUR_CALM, end
    # A node may: of a machine that was asleep many come at once. It costs the others nothing.
    async with http2(yard, context(yard, stored(await yard.node())), yard.hub.ports.mesh) as node:
        for _ in range(PINGS):
            node.connection.ping(bytes(8))
        node.send()
        await yard.is_well()
    return f"GOAWAY {ErrorCodes(end.error_code).name}"


async def lost(yard: Yard, name: str) -> None:
    """Wait until the hub has given *name* up. Asking again is all that an admin can do."""
    gone = {SpokeState.LOST, SpokeState.LEFT}
    await yard.hub.has_spoke(
        lambda spoke: spoke.name == name and spoke.state in gone, (GONE + LATE).total_seconds()
    )


@asynccontextmanager
async def an_agent(yard: Yard, name: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the spoke *name* as a process of its own."""
    state = yard.hub.directory / f"{name}-state"
    state.mkdir()
    (yard.hub.directory / name).rename(state / "spoke")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "spoke", "--model", "tiny", "--slots", "1", "--state-dir", str(state))
    )
    try:
        yield process
    finally:
        process.kill()
        async with asyncio.timeout(CALL_S):
            await process.wait()
