"""K4: the disk under the journal is full, or fails."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from hubspoke.errors import StoreFailed
from hubspoke.types import DelegationState
from tests.chaos import checks
from tests.chaos.conftest import end
from tests.chaos.mesh import ChaosMesh, Watching, asked, half_done, hand_over
from tests.chaos.works import MIDDLE, Part, diamond, planned, result_of
from tests.fakes.disks import small_disk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.fakes.disks import Disk


@pytest.fixture
def disk(template: Path, tmp_path: Path) -> Iterator[Disk]:
    """A disk that holds what the hub keeps, and nothing else."""
    directory = tmp_path / "mesh"
    shutil.copytree(template, directory)
    kept = (directory / "hub").rename(tmp_path / "hub")
    with small_disk(tmp_path, directory / "hub") as disk:
        shutil.copytree(kept, disk.place, dirs_exist_ok=True)
        disk.flush()
        yield disk


@pytest.fixture
async def mesh(disk: Disk) -> AsyncIterator[ChaosMesh]:
    """A mesh of its own."""
    end()  # there are two processors, and one mesh is enough for them
    mesh = ChaosMesh(disk.place.parent)
    await mesh.heal()
    try:
        yield mesh
        assert checks.repeated(mesh.moments, mesh.killed) == []
    finally:
        mesh.end()


async def test_a_full_disk_holds_work_up_until_there_is_room_again(mesh: ChaosMesh, disk: Disk):
    parts, refused = diamond("gate=go"), planned(Part("refused"))
    async with mesh.app() as client:
        watching, ending = await half_done(mesh, client, planned(*parts))
        disk.fill()
        mesh.open("go")
        await mesh.has_finished(*MIDDLE)
        with pytest.raises(StoreFailed, match=r"full.*make room"):
            await client.delegations.hand_over(refused)
        assert await asked(client) == "a(b)"
        assert (await client.delegations.get(watching.delegation)).state is DelegationState.RUNNING
        disk.free()
        last = await ending
        late = await hand_over(client, refused)
        assert (await Watching(client, late.id).to_the_end()).result == "refused(x)"
        assert len([one async for one in client.delegations.list()]) == 2
    assert (last.state, last.result) == (DelegationState.SUCCEEDED, result_of(*parts))
    assert checks.is_dense(watching.events)
    assert {checks.begun(mesh.moments, part.name) for part in parts} == {1}
    assert mesh.hub.lives == 1


async def test_a_disk_that_fails_holds_work_up_until_the_hub_is_started_on_a_good_one(
    mesh: ChaosMesh, disk: Disk
):
    parts, refused = diamond("gate=go"), planned(Part("refused"))
    async with mesh.app() as client:
        watching, ending = await half_done(mesh, client, planned(*parts))
        disk.fail()
        mesh.open("go")
        await mesh.has_finished(*MIDDLE)
        with pytest.raises(StoreFailed, match=r"read-only.*start the hub"):
            await client.delegations.hand_over(refused)
        assert await asked(client) == "a(b)"
        assert mesh.hub.is_alive
        mesh.hub.kill()
        disk.unmount()
        disk.mount()
        await mesh.start_hub()
        last = await ending
        assert len([one async for one in client.delegations.list()]) == 1
    assert (last.state, last.result) == (DelegationState.SUCCEEDED, result_of(*parts))
    assert checks.is_dense(watching.events)
    assert {checks.begun(mesh.moments, part.name) for part in parts} == {1}
