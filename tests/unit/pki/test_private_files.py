"""What the hub and nodes refuse to begin with: keys that others can read or replace."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pki import disk
from pki.errors import UnsafeKeyFile
from tests.fakes.hub import MeshOnDisk, make_mesh

pytestmark = pytest.mark.skipif(not disk.POSIX, reason="Windows has no modes and owners")
NAMES = (
    "pki/hub-issuing.key",
    "pki/node-issuing.key",
    "pki/root.key",
    "identity.pem",
    "gateway.pem",
    "state.db",
)


@pytest.fixture
def made(tmp_path: Path) -> MeshOnDisk:
    mesh = make_mesh(tmp_path)
    mesh.hub.state.touch(mode=0o600)
    mesh.hub.require_private()
    return mesh


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620])
@pytest.mark.parametrize("name", NAMES)
def test_a_key_that_others_can_reach_is_refused_with_what_mends_it(made: MeshOnDisk, name: str, mode: int):
    path = made.hub.directory / name
    path.chmod(mode)
    with pytest.raises(UnsafeKeyFile, match=f"chmod 600 {path}"):
        made.hub.require_private()


@pytest.mark.parametrize("name", NAMES)
def test_a_key_that_is_a_link_is_refused(made: MeshOnDisk, name: str, tmp_path: Path):
    path = made.hub.directory / name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeKeyFile, match="is a link"):
        made.hub.require_private()


@pytest.mark.skipif(not disk.POSIX or os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("name", [*NAMES, "", "pki"])
def test_what_belongs_to_somebody_else_is_refused(made: MeshOnDisk, name: str):
    os.chown(made.hub.directory / name, 12_345, -1)
    with pytest.raises(UnsafeKeyFile, match="belongs to another user"):
        made.hub.require_private()


@pytest.mark.parametrize("mode", [0o770, 0o707])
@pytest.mark.parametrize("name", ["", "pki"])
def test_a_directory_in_which_others_can_replace_keys_is_refused(made: MeshOnDisk, name: str, mode: int):
    (made.hub.directory / name).chmod(mode)
    with pytest.raises(UnsafeKeyFile, match="chmod go-w"):
        made.hub.require_private()


def test_a_root_key_that_was_taken_away_is_not_missed(made: MeshOnDisk):
    made.hub.authorities.key("root").unlink()
    made.hub.require_private()


def test_a_node_looks_after_its_directory_too(made: MeshOnDisk):
    made.admin.directory.chmod(0o777)
    with pytest.raises(UnsafeKeyFile, match="chmod go-w"):
        made.admin.load_identity()
    made.admin.directory.chmod(0o1777)
    assert made.admin.load_identity().not_after > datetime.now(UTC)


def test_a_key_of_somebody_elses_may_be_linked_to_and_read_by_a_group_and_no_more(tmp_path: Path):
    key, link = tmp_path / "privkey1.pem", tmp_path / "privkey.pem"
    key.touch(mode=0o640)
    link.symlink_to(key)
    disk.require_unread(link)
    key.chmod(0o644)
    with pytest.raises(UnsafeKeyFile, match="open to other users"):
        disk.require_unread(link)
