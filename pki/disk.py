"""Files that hold keys: written whole or not at all, and read only if nobody else could have.

The one place that knows how systems differ. Windows has no owner and mode to look at: there the
user's own profile directory protects a key.
"""

import errno
import os
import secrets
import shlex
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pki.errors import UnsafeKeyFile

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

POSIX = os.name == "posix"

SECRET_MODE = 0o600
PUBLIC_MODE = 0o644
DIRECTORY_MODE = 0o700
# Readers get one byte more of a file that is larger, and refuse it.
FILE_BYTES_MAX = 64 * 1024

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)


def replace(path: Path, data: bytes, *, mode: int) -> None:
    """Put *data* at *path*, atomically: after a crash there is the old file or the new one, whole."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        create(fresh, data, mode=mode)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    sync_directory(path.parent)


def create(path: Path, data: bytes, *, mode: int) -> None:
    """Put *data* into a new file and onto the disk; FileExistsError rather than overwrite.

    A crash may leave part of the file: for a place that nobody reads yet.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        if POSIX:
            # The umask may have taken bits away that others need to read a public file.
            os.fchmod(descriptor, mode)
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def read_secret(path: Path) -> bytes:
    """Read a file that holds a key.

    Raises FileNotFoundError, and `UnsafeKeyFile` if it is a link, somebody else's, or open to others.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _NO_LINK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnsafeKeyFile(f"{path} is a link; put the key file itself in its place") from error
        raise
    with os.fdopen(descriptor, "rb") as file:
        if POSIX:
            # The open file, not its name: nobody can swap it between the look and the read.
            _require_private(path, os.fstat(descriptor), user=os.geteuid())
        return file.read(FILE_BYTES_MAX + 1)


def open_own(path: Path) -> int:
    """Open a file that only its owner reads and that grows, for reading and writing; make it where there is none.

    Raises `UnsafeKeyFile` if it is a link, no file at all, somebody else's, or open to others.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINK | _BINARY, SECRET_MODE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnsafeKeyFile(f"{path} is a link; put the file itself in its place") from error
        raise
    try:
        _require_own(path, os.fstat(descriptor))
    except UnsafeKeyFile:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def locked(descriptor: int) -> Iterator[None]:
    """Keep other processes out that lock the same open file; waits for one that is in."""
    if sys.platform == "win32":
        # From the first byte on, as far as any head of a file goes; whoever waits tries for ten seconds.
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
        try:
            yield
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def require_own(path: Path) -> None:
    """Raise `UnsafeKeyFile` unless a file with secrets is reached by its owner alone. One that is not there is fine."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISLNK(status.st_mode):
        raise UnsafeKeyFile(f"{path} is a link; put the file itself in its place")
    _require_own(path, status)


def require_own_directory(path: Path) -> None:
    """Raise `UnsafeKeyFile` when others could replace what lies in a directory. One that is not there is fine."""
    if not POSIX or not path.exists():
        return
    status, quoted = path.stat(), shlex.quote(str(path))
    if status.st_uid not in {os.geteuid(), 0}:
        raise UnsafeKeyFile(f"{path} belongs to another user; mend it with: chown {os.geteuid()} {quoted}")
    # In a directory like /tmp everybody may write, and nobody may replace what is another's.
    if status.st_mode & _OTHERS_WRITE and not status.st_mode & stat.S_ISVTX:
        raise UnsafeKeyFile(f"other users may write to {path}; mend it with: chmod go-w {quoted}")


def require_unread(path: Path) -> None:
    """Raise `UnsafeKeyFile` when everybody may read a key that somebody else looks after, or more than its owner write it.

    A group may read it and a link may lead to it: that is how programs that fetch certificates keep theirs.
    """
    if not POSIX:
        return
    mode, quoted = path.stat().st_mode, shlex.quote(str(path))
    if mode & (stat.S_IROTH | _OTHERS_WRITE):
        raise UnsafeKeyFile(f"{path} is open to other users; mend it with: chmod o-rwx,g-w {quoted}")


def read_public(path: Path) -> bytes:
    """Read a file that holds no key. Raises FileNotFoundError."""
    with path.open("rb") as file:
        return file.read(FILE_BYTES_MAX + 1)


def make_directory(path: Path) -> None:
    """Make a directory that only its owner enters; one that exists already stays as it is."""
    path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)


def sync_directory(path: Path) -> None:
    """Bring the names in a directory onto the disk."""
    if not POSIX:
        return  # Windows opens no directories, and NTFS keeps a journal of names.
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _require_own(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnsafeKeyFile(f"{path} is not a file")
    if POSIX:
        _require_private(path, status, user=os.geteuid())


def _require_private(path: Path, status: os.stat_result, *, user: int) -> None:
    """Raise `UnsafeKeyFile`, with the command that mends it, unless *user* alone can reach the file."""
    quoted = shlex.quote(str(path))
    if status.st_uid != user:
        raise UnsafeKeyFile(f"{path} belongs to another user; mend it with: chown {user} {quoted}")
    if status.st_mode & _OTHERS:
        raise UnsafeKeyFile(f"{path} is open to other users; mend it with: chmod 600 {quoted}")
