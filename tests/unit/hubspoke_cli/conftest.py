"""The command line against a mesh on disk, and a hub that a test has written."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hubspoke.cli import main
from tests.fakes.hub import FakeHub, MeshOnDisk, make_mesh, serve_mesh

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> MeshOnDisk:
    return make_mesh(tmp_path_factory.mktemp("mesh"))


@pytest.fixture
def state_dir(mesh: MeshOnDisk) -> str:
    return str(mesh.admin.directory.parent)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run `hubspoke` with nothing but its arguments, in a home of its own; a defect is raised."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HUBSPOKE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("HUBSPOKE_HUBS", raising=False)

    def invoke(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(main, arguments, input=stdin, catch_exceptions=False, prog_name="hubspoke")

    return invoke


@pytest.fixture
def run_at(run: Run, state_dir: str) -> Run:
    """Run `hubspoke` against a hub that is served meanwhile."""

    def invoke(hub: FakeHub, *arguments: str, stdin: str | None = None) -> Result:
        with serve_mesh(hub) as address:
            return run(*arguments, "--state-dir", state_dir, "--hub", address, stdin=stdin)

    return invoke
