"""A small disk of the test's own, which can be filled, and can fail. Only root of a Linux machine can have one."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE_BYTES = 24 * 1024 * 1024
FILLER = "filler"


class Disk:
    """A file system in the file *image*, to be mounted at *place*."""

    def __init__(self, image: Path, place: Path) -> None:
        self.place = place
        self._image = image

    def make(self) -> None:
        """Make it, empty."""
        with self._image.open("wb") as file:
            file.truncate(SIZE_BYTES)
        _run("mkfs.ext4", "-q", "-m", "0", str(self._image))

    def mount(self) -> None:
        """Let it be seen."""
        self.place.mkdir(exist_ok=True)
        _run("mount", "-o", "loop", str(self._image), str(self.place))

    def unmount(self) -> None:
        """Take it away; nobody may use it."""
        _run("umount", str(self.place))

    def fill(self) -> None:
        """Leave no room on it."""
        with (self.place / FILLER).open("wb", buffering=0) as file:
            for size in (64 * 1024, 512):
                _write_all(file.fileno(), bytes(size))
            os.fsync(file.fileno())

    def flush(self) -> None:
        """Have all that was written be on it."""
        _run("sync", "-f", str(self.place))

    def free(self) -> None:
        """Make room again."""
        (self.place / FILLER).unlink()

    def fail(self) -> None:
        """Have it be as after an error of the hardware: whoever writes is told that it is read-only."""
        _run("mount", "-o", "remount,abort", str(self.place))


def _write_all(fd: int, block: bytes) -> None:
    try:
        while True:
            os.write(fd, block)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


@contextmanager
def small_disk(directory: Path, place: Path) -> Iterator[Disk]:
    """Mount a small disk at *place* for as long as the block lasts; *directory* is for its image. Skip where that cannot be."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("only root of a Linux machine can mount a disk")
    disk = Disk(directory / "disk.img", place)
    disk.make()
    try:
        disk.mount()
    except subprocess.CalledProcessError:
        pytest.skip("no disk can be mounted here: a container without the right to")
    try:
        yield disk
    finally:
        disk.unmount()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
