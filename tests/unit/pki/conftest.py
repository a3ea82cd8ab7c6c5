"""One mesh for all tests here: making keys is what would take the time."""

from datetime import UTC, datetime

import pytest

from tests.fakes.certs import Mesh, make_mesh


@pytest.fixture(scope="session")
def now() -> datetime:
    return datetime(2030, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def mesh(now: datetime) -> Mesh:
    return make_mesh(now)


@pytest.fixture(scope="session")
def foreign_mesh(now: datetime) -> Mesh:
    return make_mesh(now)
