"""What the tests of crashes share: a mesh that runs from test to test, a database server, and the two kinds of journal."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hubspoke.types import ENDED
from tests.chaos import checks
from tests.chaos.mesh import ChaosMesh, join_all
from tests.fakes.postgres import postgres, tool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.fakes.postgres import Postgres


HERE = Path(__file__).parent

FIGURES = os.environ.get("CHAOS_FIGURES", "")
"""A file that gets a line for each seed."""

CASES = 18
"""How many of the cases are run with all other tests: about as many as there is time for in two minutes."""

SEED = int(os.environ.get("CHAOS_SEED", "1"))
"""Which ones they are. `just chaos-delegate` runs all."""

TIMEOUT_S = 300

RUNNING: list[ChaosMesh] = []
"""The mesh that runs now, if one does: tests share it until one of them fails, or others than ours follow."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out all but a few cases, unless few were asked for, or all."""
    ours = [item for item in items if HERE in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.timeout(TIMEOUT_S))
    if len(ours) <= CASES or os.environ.get("CHAOS_ALL"):
        return
    short = [number for number, item in enumerate(ours) if item.get_closest_marker("long") is None]
    drawn = set(random.Random(SEED).sample(short, CASES))
    left_out = {item.nodeid for number, item in enumerate(ours) if number not in drawn}
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left_out])
    items[:] = [item for item in items if item.nodeid not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the seeds came to, if that is written down."""
    if not FIGURES or not Path(FIGURES).exists():
        return
    lines = [json.loads(line) for line in Path(FIGURES).read_text(encoding="utf-8").splitlines()]
    for journal in sorted({line["journal"] for line in lines}):
        ours = [line for line in lines if line["journal"] == journal]
        sums = {name: sum(line[name] for line in ours) for name in ("kills", "begun", "finished", "repeated")}
        told = ", ".join(f"{count} {name}" for name, count in sums.items())
        terminalreporter.write_line(f"chaos on {journal}: {len(ours)} seeds, {told}")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mesh whose nodes have joined, to be copied."""
    directory = tmp_path_factory.mktemp("template")
    asyncio.run(join_all(directory))
    return directory


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """A PostgreSQL server."""
    if tool("initdb") is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with postgres() as started:
        yield started


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """Where the journal lies: "" is a file."""
    return "" if request.param == "sqlite" else request.getfixturevalue("server").database()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """End the mesh when others follow, who need the machine for themselves."""
    if nextitem is None or HERE not in nextitem.path.parents:
        end()


def end() -> None:
    """End the mesh that runs, if one does."""
    for mesh in RUNNING:
        mesh.end()
    RUNNING.clear()


@pytest.fixture(scope="session")
def meshes(template: Path, url: str) -> Iterator[list[ChaosMesh]]:
    """Give the mesh that runs now, if one does; each kind of journal has its own."""
    yield RUNNING
    end()


@pytest.fixture
async def mesh(meshes: list[ChaosMesh], template: Path, url: str, tmp_path: Path) -> AsyncIterator[ChaosMesh]:
    """Run a mesh: one hub, two spokes, an app. What has to hold after every run is looked at when the test ends."""
    if not meshes:
        directory = tmp_path / "mesh"
        shutil.copytree(template, directory)
        meshes.append(ChaosMesh(directory, url))
    mesh = meshes[0]
    await mesh.heal()
    is_good = False
    try:
        yield mesh
        assert mesh.wiped or checks.repeated(mesh.moments, mesh.killed) == []
        assert await _stuck(mesh) == []
        assert checks.zombies() == []
        is_good = True
    finally:
        if not is_good:
            mesh.end()
            meshes.clear()


async def _stuck(mesh: ChaosMesh) -> list[str]:
    """List the delegations that have not ended."""
    await mesh.start_hub()
    async with mesh.app() as client:
        listed = [info async for info in client.delegations.list()]
    return [f"{info.id} is {info.state}" for info in listed if info.state not in ENDED]
