"""The hub's end of the audit log: appends to the chain, mends what a crash has torn, begins a new file when one is full."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from hubspoke.auditlog.chain import LINE_BYTES_MAX, START, Flaw, Line, Link, follow, read, seal
from hubspoke.auditlog.files import BROKEN, HEAD_BYTES, ROTATED, head, lines, parse_head
from pki import disk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hubspoke.auditlog.files import LogFiles

FILE_BYTES_MAX: Final = 16 * 1024 * 1024
FILES_MAX: Final = 16
"""Full files that are kept beside the one that is written."""


class Entry(NamedTuple):
    """What is to be written: when, what, and its facts."""

    ts: str
    event: str
    facts: Mapping[str, str | int]


class AuditFile:
    """The log in a directory, open for appending. Not for two threads at once; two processes take turns.

    Every method may raise OSError, and UnsafeKeyFile when something lies in the place of a file that is not the hub's own.
    """

    def __init__(self, files: LogFiles, *, file_bytes_max: int = FILE_BYTES_MAX) -> None:
        disk.make_directory(files.directory)
        self._files = files
        self._file_bytes_max = file_bytes_max
        self._head = disk.open_own(files.head)
        self._current = -1
        self._size = 0
        self.end: Link = START
        """The newest entry."""
        self._oldest_kept = 1
        self._breaks: list[Mapping[str, str | int]] = []
        try:
            with disk.locked(self._head):
                self._settle(self._read_head())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the files."""
        for descriptor in (self._current, self._head):
            if descriptor >= 0:
                os.close(descriptor)
        self._current = self._head = -1

    def append(self, entries: Sequence[Entry]) -> None:
        """Write *entries*, all of them or none, and bring them onto the disk."""
        with disk.locked(self._head):
            if not self._is_as_left():
                self._settle(self.end)
            if self._size >= self._file_bytes_max:
                self._rotate(entries[0].ts)
            breaks = [Entry(entries[0].ts, BROKEN, facts) for facts in self._breaks]
            self._write([*breaks, *entries])
            self._breaks = []

    def _is_as_left(self) -> bool:
        """Whether nobody but this has written, moved or cut the file since the last time."""
        if self._current < 0:
            return False
        mine = os.fstat(self._current)
        try:
            named = self._files.current.lstat()
        except FileNotFoundError:
            return False
        return (mine.st_size, mine.st_ino, mine.st_dev) == (self._size, named.st_ino, named.st_dev)

    def _write(self, entries: Sequence[Entry]) -> None:
        end, data = self.end, bytearray()
        for entry in entries:
            line, end = seal(end, *entry)
            data += line
        try:
            os.lseek(self._current, self._size, os.SEEK_SET)
            _write_all(self._current, bytes(data))
            os.fsync(self._current)
        except OSError:
            os.ftruncate(self._current, self._size)
            raise
        self._size += len(data)
        self.end = end
        # Not synced: an old head only says less.
        os.lseek(self._head, 0, os.SEEK_SET)
        _write_all(self._head, head(end))

    def _settle(self, known: Link | None) -> None:
        """Find the end of the chain in the file as it lies there; what does not fit becomes a break to be noted."""
        if self._current >= 0:
            os.close(self._current)
            self._current = -1
        self._current = disk.open_own(self._files.current)
        with os.fdopen(os.dup(self._current), "rb") as stream:
            stream.seek(0)
            whole = list(lines(stream))
        torn = whole.pop() if whole and not whole[-1].endswith(b"\n") else b""
        self._size = sum(map(len, whole))
        self._breaks = []
        self.end = self._walk(whole, known)
        if torn:
            self._mend(torn)
        self._compare(known)

    def _walk(self, whole: Sequence[bytes], known: Link | None) -> Link:
        """Follow the chain through the lines of the file, and give its last link."""
        link = self._end_of_archives()
        end = link or START
        for number, raw in enumerate(whole, start=1):
            line = follow(link, raw[:-1])
            if isinstance(line, Flaw):
                self._note_break("chain", line=number, what=line.what)
                line = read(raw[:-1])
            if isinstance(line, Flaw):
                link = None  # the next line has to be taken as it is
                continue
            link = end = Link(line.seq, line.hash)
            if line.event == ROTATED:
                self._oldest_kept = line.first
            if known is not None and known.seq == end.seq and known.hash != end.hash:
                self._note_break("replaced", line=number, what="this is not the entry that was written")
        return end

    def _end_of_archives(self) -> Link | None:
        """Give the last link of the newest full file, `START` without one, and nothing when it cannot be read."""
        newest = list(self._files.archives().values())[-1:]
        if not newest:
            return START
        with newest[0].open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - LINE_BYTES_MAX))
            last = stream.read().rstrip(b"\n").rpartition(b"\n")[2]
        line = read(last)
        return None if isinstance(line, Flaw) else Link(line.seq, line.hash)

    def _mend(self, torn: bytes) -> None:
        """Finish or take away what was being written when the hub died."""
        os.lseek(self._current, self._size + len(torn), os.SEEK_SET)
        line = follow(self.end, torn)
        if isinstance(line, Line):
            _write_all(self._current, b"\n")
            self._size += len(torn) + 1
            self.end = Link(line.seq, line.hash)
        else:
            os.ftruncate(self._current, self._size)
            self._note_break("torn", bytes=len(torn), what="the last line was not whole, and was taken away")

    def _compare(self, known: Link | None) -> None:
        """Note what is missing of what was there before, as *known* tells it, and go on after that."""
        if known is None:
            if self.end != START:
                self._note_break("head", what="there was no word of where the log should end")
        elif known.seq > self.end.seq:
            self._note_break("missing", after=self.end.seq, until=known.seq, what="the end was taken away")
            self.end = known

    def _note_break(self, reason: str, **facts: str | int) -> None:
        """Remember a break for the next entries; one of each kind says enough."""
        if all(noted["reason"] != reason for noted in self._breaks):
            self._breaks.append({"reason": reason, **facts})

    def _rotate(self, ts: str) -> None:
        """Begin a new file, and let the oldest go when there are too many."""
        os.close(self._current)
        self._current = -1
        self._files.current.rename(self._files.archive(self.end.seq))
        self._current, self._size = disk.open_own(self._files.current), 0
        surplus = list(self._files.archives().items())[:-FILES_MAX]
        if surplus:
            self._oldest_kept = surplus[-1][0] + 1
        self._write([Entry(ts, ROTATED, {"first": self._oldest_kept})])
        disk.sync_directory(self._files.directory)
        for _, path in surplus:
            path.unlink()

    def _read_head(self) -> Link | None:
        os.lseek(self._head, 0, os.SEEK_SET)
        return parse_head(os.read(self._head, HEAD_BYTES + 1))


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
