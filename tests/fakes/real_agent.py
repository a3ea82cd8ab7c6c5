"""A real agent in the test's own loop, with a fake for the engine alone."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from hubspoke.clock import SystemClock
from hubspoke.types import HostMemory
from pki.identity import Role
from spoke.agent import Agent
from spoke.gpu.none import NoGpus
from spoke.link.machine import Machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hubspoke.clock import Clock
    from tests.fakes.engine import FakeEngine
    from tests.fakes.real_hub import RealHub


@asynccontextmanager
async def an_agent(
    hub: RealHub, name: str, engine: FakeEngine, slots: int = 2, clock: Clock | None = None
) -> AsyncIterator[Agent]:
    """A spoke that is listed with all its slots when the block begins, and is gone when it ends."""
    files = await hub.join(name, Role.SPOKE)
    machine = Machine([engine], NoGpus(), lambda: HostMemory(1 << 34, 1 << 33))
    agent = Agent(
        files,
        machine,
        hubs=(hub.mesh,),
        slots=slots,
        version="test",
        clock=clock or SystemClock(),
        chance=lambda: 0.01,
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(agent.run())
        await hub.is_listed(name, slots)
        yield agent
        task.cancel()
