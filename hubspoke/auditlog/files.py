"""Where an audit log lies, and whether it is whole.

    audit.jsonl                 what the hub writes now
    audit-000000012345.jsonl    full: its last entry has the number 12345
    audit.head                  number and hash of the newest entry, so that a cut end is seen

The chain goes on from file to file. When there are too many, the oldest goes, and the `audit.rotate` that begins a file says
which entry is the oldest that was kept.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from hubspoke.auditlog.chain import LINE_BYTES_MAX, Flaw, Line, Link, follow
from pki import disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

ROTATED: Final = "audit.rotate"
BROKEN: Final = "audit.break"

_ARCHIVE: Final = re.compile(r"audit-([0-9]{12})\.jsonl")
_HEAD: Final = re.compile(rb"([0-9]{20}) ([0-9a-f]{64})\n")


@dataclass(frozen=True, slots=True)
class LogFiles:
    """The directory of an audit log."""

    directory: Path

    @property
    def current(self) -> Path:
        """The file that is written."""
        return self.directory / "audit.jsonl"

    @property
    def head(self) -> Path:
        """The file that says where the chain ends."""
        return self.directory / "audit.head"

    def archive(self, last: int) -> Path:
        """Say where a full file goes whose last entry has the number *last*."""
        return self.directory / f"audit-{last:012}.jsonl"

    def archives(self) -> dict[int, Path]:
        """Give the full files that are there, the oldest first, by the number of their last entry."""
        found = ((_ARCHIVE.fullmatch(path.name), path) for path in self.directory.glob("audit-*.jsonl"))
        return dict(sorted((int(match[1]), path) for match, path in found if match))


HEAD_BYTES: Final = 20 + 1 + 64 + 1


def head(link: Link) -> bytes:
    """Write where a chain ends; always as many bytes, so that it is replaced in one go."""
    return b"%020d %b\n" % (link.seq, link.hash.encode())


def parse_head(data: bytes) -> Link | None:
    """Read where a chain ends, or nothing when that is not what *data* says."""
    match = _HEAD.fullmatch(data)
    return None if match is None else Link(int(match[1]), match[2].decode())


@dataclass(frozen=True, slots=True)
class Broken:
    """The first line that does not fit."""

    file: str
    line: int
    what: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a look at a whole log has found. Times are as the lines have them; *breaks* is what the hub itself has noted."""

    entries: int = 0
    first: int = 0
    last: int = 0
    since: str = ""
    until: str = ""
    breaks: int = 0
    broken: Broken | None = None


def lines(stream: BinaryIO) -> Iterator[bytes]:
    """Give the lines of a file, the last one without a newline when it has none; no more of one than a line may have."""
    while line := stream.readline(LINE_BYTES_MAX):
        yield line


def entries(files: LogFiles) -> Iterator[tuple[Path, int, bytes]]:
    """Give every line of a log from the oldest on: its file, its number in it, and its bytes.

    The hub may begin a new file meanwhile, and what was the current one is then a full one: it is read once.
    """
    with files.current.open("rb") as current:
        for path in files.archives().values():
            with suppress(FileNotFoundError), path.open("rb") as full:  # the oldest one goes now and then
                if not os.path.sameopenfile(full.fileno(), current.fileno()):
                    yield from ((path, number, line) for number, line in enumerate(lines(full), start=1))
        yield from ((files.current, number, line) for number, line in enumerate(lines(current), start=1))


def verify(files: LogFiles) -> Report:
    """Follow the chain from end to end, with the hub kept from writing. Raise FileNotFoundError where there is no log."""
    if not files.head.exists():
        return _ended(_verified(entries(files)), files, None)
    with files.head.open("rb") as stream, disk.locked(stream.fileno()):
        return _ended(_verified(entries(files)), files, parse_head(stream.read(HEAD_BYTES + 1)))


def verify_file(path: Path) -> Report:
    """Follow the chain of one file, wherever it was taken to. Raise FileNotFoundError."""
    with path.open("rb") as stream:
        found = ((path, number, line) for number, line in enumerate(lines(stream), start=1))
        return _verified(found, is_whole=False)


def _verified(found: Iterator[tuple[Path, int, bytes]], *, is_whole: bool = True) -> Report:
    report = Report()
    before: Link | None = None
    oldest_kept = 1
    for path, number, raw in found:
        line = Flaw("this line is cut off") if not raw.endswith(b"\n") else follow(before, raw[:-1])
        if isinstance(line, Flaw):
            return _broken(report, path.name, number, line.what)
        if line.event == ROTATED:
            oldest_kept = line.first
        report = _counted(report, line)
        before = Link(line.seq, line.hash)
    if is_whole and report.entries and report.first > oldest_kept:
        what = f"entries {oldest_kept} to {report.first - 1} are missing at the beginning"
        return _broken(report, "", 0, what)
    return report


def _ended(report: Report, files: LogFiles, noted: Link | None) -> Report:
    """Compare the end of a chain with where it should be."""
    if report.broken is not None:
        return report
    if noted is None:
        return _broken(report, files.head.name, 1, "this does not say where the log ends")
    if noted.seq > report.last:
        return _broken(report, "", 0, f"entries {report.last + 1} to {noted.seq} are missing at the end")
    return report


def _counted(report: Report, line: Line) -> Report:
    return Report(
        entries=report.entries + 1,
        first=report.first or line.seq,
        last=line.seq,
        since=report.since or line.ts,
        until=line.ts,
        breaks=report.breaks + (line.event == BROKEN),
    )


def _broken(report: Report, file: str, line: int, what: str) -> Report:
    return replace(report, broken=Broken(file, line, what))
