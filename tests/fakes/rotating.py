"""A mesh at work, while its authorities are exchanged: apps that ask without a pause, and somebody who goes from phase to phase."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hubspoke.admin import AdminClient
from hubspoke.client import MeshClient
from hubspoke.errors import MeshError, RotationRefused
from hubspoke.types import Delta, Request
from pki.identity import Role
from pki.rotation import Kind, Phase
from pki.succession import RootKey, prepare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hubspoke.types import AuthoritiesInfo
    from pki.files import NodeFiles
    from tests.fakes.real_hub import RealHub

READY_S = 60.0
"""Longest wait for every node to be ready for the next phase."""

CALLS_PER_CONNECTION = 6


class Load:
    """What came of the calls: unary ones and streams."""

    def __init__(self) -> None:
        self.unary = 0
        self.streams = 0
        self.errors: list[str] = []
        self.is_over = asyncio.Event()

    async def ask(self, files: NodeFiles, text: str) -> None:
        """Ask and ask until it is over, some calls on each connection; every answer has to be *text*."""
        while not self.is_over.is_set():
            try:
                async with MeshClient(files.directory) as mesh:
                    for _ in range(CALLS_PER_CONNECTION):
                        await mesh.models()
                        self.unary += 1
                        said = [event async for event in mesh.infer(Request(model="tiny", prompt="Say it"))]
                        answer = "".join(event.text for event in said if isinstance(event, Delta))
                        if answer == text:
                            self.streams += 1
                        else:
                            self.errors.append(f"not the answer: {answer!r}")
            except MeshError as error:
                self.errors.append(f"{error.reason}: {error.message}")


@asynccontextmanager
async def under_load(hub: RealHub, apps: int, text: str) -> AsyncIterator[Load]:
    """Let *apps* ask for as long as the block lasts."""
    load = Load()
    files = [await hub.join(f"app-{number}", Role.APP) for number in range(apps)]
    async with asyncio.TaskGroup() as group:
        for each in files:
            group.create_task(load.ask(each, text))
        try:
            yield load
        finally:
            load.is_over.set()


async def begin(hub: RealHub, kind: Kind) -> AuthoritiesInfo:
    """Make what *kind* exchanges, and begin."""
    authorities = hub.made.hub.authorities
    shown = await asyncio.to_thread(prepare, authorities, kind, RootKey(None), now=datetime.now(UTC))
    async with AdminClient(hub.admin.directory) as admin:
        return await admin.begin_rotation(kind, shown)


async def advance(hub: RealHub, kind: Kind, phase: Phase) -> AuthoritiesInfo:
    """Go on from *phase* as soon as every node is ready."""
    async with asyncio.timeout(READY_S):
        while True:
            # A connection each time: what is to be taken over, an admin takes over when it connects.
            async with AdminClient(hub.admin.directory) as admin:
                try:
                    return (await admin.advance_rotation(kind, phase))[0]
                except RotationRefused as refused:
                    if "is in phase" in refused.message:
                        raise


async def finish(hub: RealHub, kind: Kind, info: AuthoritiesInfo) -> AuthoritiesInfo:
    """Go through all phases that are left."""
    while info.rotation is not None:
        info = await advance(hub, kind, info.rotation.phase)
    return info


async def roll_back(hub: RealHub, kind: Kind, phase: Phase) -> AuthoritiesInfo:
    """Turn round."""
    async with AdminClient(hub.admin.directory) as admin:
        return await admin.roll_back_rotation(kind, phase)
