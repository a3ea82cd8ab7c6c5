import os
import stat
from pathlib import Path

import pytest

from pki import disk
from pki.errors import UnsafeKeyFile

posix_only = pytest.mark.skipif(not disk.POSIX, reason="Windows has no modes and owners")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "a key.pem"
    disk.create(path, b"secret", mode=disk.SECRET_MODE)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o077])
def umask(request: pytest.FixtureRequest):
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_what_was_written_is_read(key_file: Path):
    assert disk.read_secret(key_file) == b"secret"


def test_a_new_file_never_overwrites_one(key_file: Path):
    with pytest.raises(FileExistsError):
        disk.create(key_file, b"other", mode=disk.SECRET_MODE)
    assert disk.read_secret(key_file) == b"secret"


def test_replacing_leaves_the_new_content_and_nothing_else(key_file: Path):
    disk.replace(key_file, b"other", mode=disk.SECRET_MODE)
    assert disk.read_secret(key_file) == b"other"
    assert list(key_file.parent.iterdir()) == [key_file]


def test_replacing_that_fails_leaves_the_old_content_and_nothing_else(tmp_path: Path):
    directory = tmp_path / "in the way"
    directory.mkdir()
    (directory / "file").touch()
    with pytest.raises(OSError, match="in the way"):
        disk.replace(directory, b"new", mode=disk.SECRET_MODE)
    assert list(tmp_path.iterdir()) == [directory]


@posix_only
@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("wanted", [disk.SECRET_MODE, disk.PUBLIC_MODE])
def test_a_file_has_its_mode_whatever_the_umask(tmp_path: Path, wanted: int):
    disk.replace(tmp_path / "file", b"", mode=wanted)
    assert mode(tmp_path / "file") == wanted


@posix_only
@pytest.mark.parametrize("open_to", [0o640, 0o604, 0o620, 0o601])
def test_a_key_that_others_can_reach_is_refused_with_what_mends_it(key_file: Path, open_to: int):
    key_file.chmod(open_to)
    with pytest.raises(UnsafeKeyFile, match=f"chmod 600 '{key_file}'"):
        disk.read_secret(key_file)


@posix_only
def test_a_link_to_a_key_is_refused(key_file: Path, tmp_path: Path):
    link = tmp_path / "link.pem"
    link.symlink_to(key_file)
    with pytest.raises(UnsafeKeyFile, match="is a link"):
        disk.read_secret(link)


@posix_only
def test_a_key_of_another_user_is_refused(key_file: Path):
    with pytest.raises(UnsafeKeyFile, match="chown 12345 "):
        disk._require_private(key_file, key_file.stat(), user=12345)


def test_without_posix_a_mode_says_nothing_and_is_not_looked_at(
    key_file: Path, monkeypatch: pytest.MonkeyPatch
):
    key_file.chmod(0o644)
    monkeypatch.setattr(disk, "POSIX", False)
    assert disk.read_secret(key_file) == b"secret"
    disk.replace(key_file, b"other", mode=disk.SECRET_MODE)
    assert disk.read_secret(key_file) == b"other"


def test_a_file_that_is_not_there_is_not_there(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        disk.read_secret(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        disk.read_public(tmp_path / "nothing")


def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path):
    disk.create(tmp_path / "huge", b"x" * (2 * disk.FILE_BYTES_MAX), mode=disk.SECRET_MODE)
    assert len(disk.read_secret(tmp_path / "huge")) == disk.FILE_BYTES_MAX + 1
    assert len(disk.read_public(tmp_path / "huge")) == disk.FILE_BYTES_MAX + 1


@posix_only
def test_a_new_directory_is_its_owners_alone(tmp_path: Path):
    disk.make_directory(tmp_path / "state" / "hub")
    assert mode(tmp_path / "state" / "hub") == disk.DIRECTORY_MODE
