"""A real hub with its gateway, for the tests beside this file."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest

from hub.config import GatewayConfig, RolesConfig
from hubspoke.admin import AdminClient
from hubspoke.types import KeyPlan
from tests.fakes.clock import far_from_midnight
from tests.fakes.real_agent import an_agent
from tests.fakes.real_hub import NO_ROLES, WAIT_S, RealHub, real_hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hubspoke.clock import Clock
    from tests.fakes.engine import FakeEngine


@dataclass
class Gateway:
    """A hub with a gateway, a key for it, and a client that shows the key."""

    hub: RealHub
    url: str
    key: str
    http: httpx.AsyncClient

    @asynccontextmanager
    async def spoke(self, engine: FakeEngine, name: str = "den", slots: int = 4) -> AsyncIterator[None]:
        """Let a spoke with *engine* serve."""
        async with an_agent(self.hub, name, engine, slots=slots):
            yield

    async def new_key(self, plan: KeyPlan) -> str:
        """Make another key."""
        async with AdminClient(self.hub.admin.directory) as admin:
            return (await admin.create_key(plan)).secret


@asynccontextmanager
async def a_gateway(
    directory: Path, settings: GatewayConfig, roles: RolesConfig = NO_ROLES, clock: Clock | None = None
) -> AsyncIterator[Gateway]:
    """Run a hub whose gateway has *settings*. What keys use is counted by days: none ends meanwhile, unless by *clock*."""
    async with real_hub(directory, clock or far_from_midnight(), settings, roles) as hub:
        url = f"http://127.0.0.1:{hub.ports.gateway[0]}"
        async with AdminClient(hub.admin.directory) as admin:
            key = (await admin.create_key(KeyPlan("tests", scopes=frozenset({"models:write"})))).secret
        headers = {"authorization": f"Bearer {key}"}
        # Nobody to trust: to load every authority of the system takes 30 ms.
        async with httpx.AsyncClient(
            base_url=url, headers=headers, trust_env=False, verify=False, timeout=WAIT_S
        ) as http:
            yield Gateway(hub, url, key, http)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with a_gateway(tmp_path, GatewayConfig(port=0, aliases={"gpt-4o-mini": "tiny"})) as running:
        yield running
