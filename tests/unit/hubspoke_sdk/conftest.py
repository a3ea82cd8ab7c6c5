"""One mesh for all tests here, and a directory of its own for whoever changes an identity."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pki.files import NodeFiles
from tests.fakes.certs import Shape, issue
from tests.fakes.hub import MeshOnDisk, make_mesh

APP = "spiffe://hubspoke.internal/app/laptop"


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> MeshOnDisk:
    return make_mesh(tmp_path_factory.mktemp("mesh"))


@pytest.fixture
def app(mesh: MeshOnDisk, tmp_path: Path) -> NodeFiles:
    """An app whose certificate is fresh."""
    return enrolled(mesh, tmp_path / "app", age=timedelta(hours=1))


@pytest.fixture
def old_app(mesh: MeshOnDisk, tmp_path: Path) -> NodeFiles:
    """An app whose certificate is due for renewal."""
    return enrolled(mesh, tmp_path / "app", age=timedelta(hours=14))


@pytest.fixture
def ended_app(mesh: MeshOnDisk, tmp_path: Path) -> NodeFiles:
    """An app whose certificate has ended."""
    return enrolled(mesh, tmp_path / "app", age=timedelta(hours=25))


def enrolled(mesh: MeshOnDisk, directory: Path, *, age: timedelta) -> NodeFiles:
    shutil.copytree(mesh.admin.directory, directory)
    files = NodeFiles(directory)
    shape = Shape(uris=(APP,), starts_in=-age, ends_in=timedelta(hours=24) - age)
    issuer = mesh.hub.authorities.load_node_issuer()
    files.save(issue(issuer, shape, now=datetime.now(UTC)), files.anchors.read_bytes())
    return files
