"""Work that is handed over from a program: nothing that is kept is missed, whatever becomes of the watching."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from hubspoke.client import MeshClient
from hubspoke.errors import RequestIdTaken, UnknownDelegation
from hubspoke.sync import SyncMesh
from hubspoke.types import DelegationId, DelegationState, Goal, StateChanged, Verb, Work
from tests.fakes.delegations import ID, STORY, FakeDelegations, info
from tests.fakes.hub import FakeHub, serve_mesh

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pki.files import NodeFiles
    from tests.fakes.hub import MeshOnDisk

WORK = Work("r-1", Goal("Read it"))


@asynccontextmanager
async def connected(mesh: MeshOnDisk, app: NodeFiles, service: FakeDelegations) -> AsyncIterator[MeshClient]:
    with serve_mesh(FakeHub(mesh.hub), service.add_to) as address:
        async with MeshClient(app.directory, [address], chance=lambda: 0.0) as client:
            yield client


async def test_work_is_handed_over_and_watched_to_its_end(mesh: MeshOnDisk, app: NodeFiles) -> None:
    async with connected(mesh, app, FakeDelegations()) as client:
        events = [event async for event in client.delegate(WORK)]
    assert [event.seq for event in events] == list(range(1, len(STORY) + 1))
    assert tuple(event.happening for event in events) == STORY


@pytest.mark.parametrize("breaks", [(1,), (3,), (1, 2, 3, 4, 5)])
async def test_a_watching_that_breaks_off_goes_on_where_it_was(
    mesh: MeshOnDisk, app: NodeFiles, breaks: tuple[int, ...]
) -> None:
    service = FakeDelegations(breaks=breaks)
    async with connected(mesh, app, service) as client:
        events = [event async for event in client.delegations.watch(ID)]
    assert [event.seq for event in events] == list(range(1, len(STORY) + 1))


async def test_a_watching_begins_where_it_is_told(mesh: MeshOnDisk, app: NodeFiles) -> None:
    async with connected(mesh, app, FakeDelegations()) as client:
        events = [event async for event in client.delegations.watch(ID, 5)]
    assert [event.seq for event in events] == [5, 6]
    last = events[-1].happening
    assert isinstance(last, StateChanged)
    assert last.result == "all of it"


async def test_errors_are_the_meshs_own(mesh: MeshOnDisk, app: NodeFiles) -> None:
    service = FakeDelegations()
    async with connected(mesh, app, service) as client:
        with pytest.raises(UnknownDelegation):
            await client.delegations.get(DelegationId("other"))
        service.refuses = RequestIdTaken("this request id came with other content before")
        with pytest.raises(RequestIdTaken):
            await client.delegations.hand_over(WORK)


async def test_what_was_handed_over_can_be_seen_ended_and_decided_about(
    mesh: MeshOnDisk, app: NodeFiles
) -> None:
    service = FakeDelegations()
    service.kept = [info(DelegationState.SUCCEEDED, title=title) for title in ("a", "b", "c")]
    async with connected(mesh, app, service) as client:
        assert [one.title async for one in client.delegations.list()] == ["a", "b", "c"]
        assert (await client.delegations.get(ID)).title == "a"
        assert (await client.delegations.cancel(ID)).state is DelegationState.SUCCEEDED
        await client.delegations.resolve(ID, Verb.SUPPLY, subtask="one", output="mine")
        await client.delegations.delete(ID)
    resolved = service.asked[-2]
    assert (resolved.subtask_id, resolved.output, resolved.verb) == ("one", "mine", 4)  # type: ignore[attr-defined]


def test_a_program_without_a_loop_can_watch(mesh: MeshOnDisk, app: NodeFiles) -> None:
    with (
        serve_mesh(FakeHub(mesh.hub), FakeDelegations().add_to) as address,
        SyncMesh(app.directory, [address]) as client,
    ):
        assert [event.seq for event in client.delegate(WORK)] == list(range(1, len(STORY) + 1))
        assert client.delegation(ID).result == "all of it"
