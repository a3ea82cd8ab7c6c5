"""K10: versions change, forth and back, while delegations are under way."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from hub.store.server import DRIVER
from hubspoke.types import DelegationState, Verb
from pki.files import HubFiles
from tests.chaos import checks
from tests.chaos.leave_journal import CHAIN, JOURNALS
from tests.chaos.mesh import Watching, hand_over, stands
from tests.chaos.works import Part, planned, result_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.mesh import ChaosMesh

FORMAT = "CHAOS_FORMAT"
LATER = "2"


def executed(mesh: ChaosMesh, statement: str) -> None:
    """Have the journal's database do *statement*, with no hub there."""
    file = f"sqlite:///{mesh.journals[0]}"
    engine = sa.create_engine(sa.make_url(mesh.url).set(drivername=DRIVER) if mesh.url else file)
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


@pytest.fixture
def later(mesh: ChaosMesh, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Hubs that are started from now on are of a version that takes other steps; afterwards the journal is as it was."""
    monkeypatch.setitem(mesh.hub.environment, FORMAT, LATER)
    yield monkeypatch
    if mesh.hub.is_alive:
        mesh.hub.kill()
    executed(mesh, "UPDATE journal_format SET number = 1")


def put_back(mesh: ChaosMesh, version: str) -> str:
    """Let the hub find the journal that *version* has left, as if it were its own, and give the delegation in it."""
    hub, now = HubFiles(mesh.directory / "hub").load_identity().identity.name, time.time()
    for path in mesh.journals:
        for old in path.parent.glob(f"{path.name}*"):
            old.unlink()
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript((JOURNALS / version / f"{path.stem}.sql").read_text(encoding="utf-8"))
            if path.stem == "steps":
                connection.execute("UPDATE workflow_status SET executor_id = ?", (hub,))
            else:
                begun = (hub, now, now + 600)
                connection.execute(
                    "UPDATE delegations SET executor = ?, accepted_at = ?, deadline = ?", begun
                )
                (found,) = connection.execute("SELECT id FROM delegations").fetchone()
            connection.commit()
    return str(found)


@pytest.mark.parametrize("version", sorted(path.name for path in JOURNALS.iterdir()))
async def test_what_a_version_of_before_has_begun_is_ended_by_this_one(mesh: ChaosMesh, version: str):
    if mesh.url:
        pytest.skip("what is kept is the same there, and was put down from files")
    mesh.hub.kill()
    delegation = put_back(mesh, version)
    await mesh.start_hub()
    async with mesh.app() as client:
        watching = Watching(client, delegation)
        last = await watching.to_the_end()
    assert (last.state, last.result) == (DelegationState.SUCCEEDED, result_of(*CHAIN))
    assert checks.is_dense(watching.events)
    assert [checks.begun(mesh.moments, part.name) for part in CHAIN] == [0, 1]


@pytest.mark.parametrize("verb", [Verb.RETRY, Verb.ABORT])
async def test_what_cannot_go_on_in_a_later_version_waits_for_a_person(
    mesh: ChaosMesh, later: pytest.MonkeyPatch, verb: Verb
):
    parts = (Part("first"), Part("second", ("first",), "gate=go"))
    later.delitem(mesh.hub.environment, FORMAT)
    async with mesh.app() as client:
        info = await hand_over(client, planned(*parts))
        await mesh.has_begun("second")
        mesh.hub.kill()
        mesh.open("go")
        later.setitem(mesh.hub.environment, FORMAT, LATER)
        await mesh.start_hub()
        await stands(client, info.id, DelegationState.PARKED)
        mesh.hub.kill()  # it is not forgotten that it waits
        await mesh.start_hub()
        assert "earlier version" in (await client.delegations.get(info.id)).problem.message
        await mesh.is_ready()
        await client.delegations.resolve(info.id, verb)
        watching = Watching(client, info.id)
        last = await watching.to_the_end()
    mesh.wiped = True  # it was wanted that `first` is done again
    assert last.state is (DelegationState.SUCCEEDED if verb is Verb.RETRY else DelegationState.FAILED)
    assert last.result == (result_of(*parts) if verb is Verb.RETRY else "")
    assert checks.is_dense(watching.events)
    assert checks.begun(mesh.moments, "first") == (2 if verb is Verb.RETRY else 1)


@pytest.mark.long
async def test_a_version_of_before_does_not_touch_what_a_later_one_has_written(
    mesh: ChaosMesh, later: pytest.MonkeyPatch
):
    parts = (Part("one", (), "gate=go"),)
    mesh.hub.end()
    await mesh.start_hub()
    async with mesh.app() as client:
        info = await hand_over(client, planned(*parts))
        await mesh.has_begun("one")
        mesh.hub.end()
        before = written(mesh)
        later.delitem(mesh.hub.environment, FORMAT)
        mesh.hub.start()
        assert await mesh.hub.has_ended() not in {0, -9}
        assert f"format {LATER}, of a newer version" in mesh.hub.log.read_text()
        assert written(mesh) == before
        later.setitem(mesh.hub.environment, FORMAT, LATER)
        mesh.open("go")
        await mesh.start_hub()
        last = await Watching(client, info.id).to_the_end()
    assert last.result == result_of(*parts)


def written(mesh: ChaosMesh) -> list[str]:
    """Give digests of the journal's files; a server has others, which change by themselves."""
    files = [] if mesh.url else mesh.journals
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
