"""A connection whose own task ends, which it never should, and one that is closed while somebody uses it."""

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from hubspoke.client import MeshClient
from hubspoke.errors import Cancelled
from hubspoke.types import DelegationEvent, Request
from pki.files import NodeFiles
from tests.fakes.delegations import ID, WAIT_S, FakeDelegations
from tests.fakes.hub import FakeHub, MeshOnDisk, serve_mesh
from tests.fakes.ports import free_ports


async def test_a_defect_in_renewing_is_logged_and_leaves_the_connection_alone(
    mesh: MeshOnDisk, app: NodeFiles, caplog: pytest.LogCaptureFixture
):
    chances = [0.5]  # for the first look; the task itself finds none left
    with serve_mesh(FakeHub(mesh.hub)) as address:
        async with MeshClient(app.directory, [address], chance=chances.pop) as client:
            assert (await client.answer(Request("tiny", prompt="hi"))).text == "Hello"
    (event,) = [event for event in caplog.records if event.name == "hubspoke.connection"]
    assert event.getMessage() == "renewal has stopped unexpectedly"
    assert event.levelno == logging.ERROR
    assert event.exc_info is not None
    assert event.exc_info[0] is IndexError


async def rest_of(watching: AsyncGenerator[DelegationEvent]) -> None:
    async for _ in watching:
        pass


@asynccontextmanager
async def watched(
    app: NodeFiles, address: str, *, chance: float
) -> AsyncIterator[tuple[MeshClient, asyncio.Task[None]]]:
    """A client that watches a delegation of which one thing has happened."""
    async with MeshClient(app.directory, [address], chance=lambda: chance) as client:
        watching = client.delegations.watch(ID)
        await anext(watching)
        yield client, asyncio.create_task(rest_of(watching))


async def test_a_client_that_is_closed_says_so_to_whoever_waits_to_watch_again(
    mesh: MeshOnDisk, app: NodeFiles
):
    # Who is slow to close finds it watching again already, and that must not have come to its end.
    service = FakeDelegations(breaks=(1,), stays_after=2)
    with serve_mesh(FakeHub(mesh.hub), service.add_to) as address:
        async with watched(app, address, chance=0.9) as (client, watching):
            await asyncio.to_thread(service.broke.wait, WAIT_S)
        with pytest.raises(Cancelled, match="closed"):
            await watching
        with pytest.raises(Cancelled, match="closed"):
            await client.delegations.get(ID)
        service.may_go.set()


async def test_a_client_that_is_closed_says_so_to_whoever_dials_again(mesh: MeshOnDisk, app: NodeFiles):
    service, (port,) = FakeDelegations(breaks=(1,)), free_ports(1)
    async with AsyncExitStack() as stack:
        with serve_mesh(FakeHub(mesh.hub), service.add_to, port) as address:
            _, watching = await stack.enter_async_context(watched(app, address, chance=0.0))
        with socket.create_server(("127.0.0.1", port)) as silent:
            dialled = await asyncio.to_thread(silent.accept)
            await stack.aclose()
            dialled[0].close()
    with pytest.raises(Cancelled, match="closed"):
        await watching


async def test_a_client_that_is_closed_says_so_to_whoever_watches(mesh: MeshOnDisk, app: NodeFiles):
    service = FakeDelegations(stays_after=2)
    with serve_mesh(FakeHub(mesh.hub), service.add_to) as address:
        async with watched(app, address, chance=0.0) as (_, watching):
            await asyncio.to_thread(service.stays.wait, WAIT_S)
        with pytest.raises(Cancelled, match="closed"):
            await watching
        service.may_go.set()
