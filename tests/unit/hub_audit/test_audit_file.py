"""The audit log on the disk: what a crash leaves is mended, and what somebody changes is told."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hub.audit_file import FILES_MAX, AuditFile, Entry
from hubspoke.auditlog.files import LogFiles, Report, verify
from pki.errors import UnsafeKeyFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TS = "2026-11-25T12:00:00.000Z"
KILLS = 4


def entry(event: str = "token.create", **facts: str | int) -> Entry:
    return Entry(TS, event, facts)


@pytest.fixture
def files(tmp_path: Path) -> LogFiles:
    return LogFiles(tmp_path / "hub")


@pytest.fixture
def log(files: LogFiles) -> Iterator[AuditFile]:
    opened = AuditFile(files)
    yield opened
    opened.close()


def reopened(files: LogFiles, *more: Entry) -> Report:
    """Let the hub come back, note something, and go; say what a check finds."""
    log = AuditFile(files)
    log.append([entry("hub.start"), *more])
    log.close()
    return verify(files)


def said(files: LogFiles) -> list[dict[str, object]]:
    return [json.loads(line) for line in files.current.read_text().splitlines()]


def breaks(files: LogFiles) -> list[object]:
    return [line["reason"] for line in said(files) if line["event"] == "audit.break"]


def test_numbers_and_the_chain_go_on_after_a_restart(files: LogFiles, log: AuditFile):
    log.append([entry(node="den"), entry(node="attic")])
    log.close()
    report = reopened(files)
    assert (report.entries, report.first, report.last, report.broken) == (3, 1, 3, None)
    assert [line["seq"] for line in said(files)] == [1, 2, 3]
    assert said(files)[2]["prev"] == said(files)[1]["hash"]


@pytest.mark.skipif(os.name != "posix", reason="Windows has no modes and owners")
def test_nobody_else_may_read_it(files: LogFiles, log: AuditFile):
    log.append([entry()])
    assert {stat.S_IMODE(path.stat().st_mode) for path in files.directory.iterdir()} == {0o600}


@pytest.mark.skipif(os.name != "posix", reason="Windows has no modes and owners")
@pytest.mark.parametrize("name", ["audit.jsonl", "audit.head"])
def test_a_link_an_open_file_and_no_file_are_refused(files: LogFiles, name: str):
    files.directory.mkdir()
    path = files.directory / name
    path.symlink_to(files.directory / "elsewhere")
    with pytest.raises(UnsafeKeyFile, match="is a link"):
        AuditFile(files)
    path.unlink()
    path.touch(mode=0o644)
    with pytest.raises(UnsafeKeyFile, match="open to other users"):
        AuditFile(files)
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(UnsafeKeyFile, match="is not a file"):
        AuditFile(files)


@pytest.mark.parametrize("kept", [1, 40, -1])
def test_a_line_that_was_being_written_is_mended(files: LogFiles, log: AuditFile, kept: int):
    log.append([entry(), entry(node="den")])
    log.close()
    whole = files.current.read_bytes()
    first, second, _ = whole.split(b"\n")
    files.current.write_bytes(first + b"\n" + second[:kept])
    files.head.write_bytes(b"%020d " % 1 + json.loads(first)["hash"].encode() + b"\n")
    report = reopened(files)
    assert report.broken is None
    assert (report.entries, breaks(files)) == (3, ["torn"])


def test_a_last_line_that_lacks_only_its_end_is_kept(files: LogFiles, log: AuditFile):
    log.append([entry(), entry(node="den")])
    log.close()
    files.current.write_bytes(files.current.read_bytes()[:-1])
    report = reopened(files)
    assert (report.entries, report.breaks, report.broken) == (3, 0, None)


def test_an_end_that_was_cut_off_is_missed_at_once_and_noted(files: LogFiles, log: AuditFile):
    log.append([entry(), entry(), entry()])
    log.close()
    files.current.write_bytes(files.current.read_bytes().split(b"\n")[0] + b"\n")
    report = verify(files)
    assert report.broken is not None
    assert report.broken.what == "entries 2 to 3 are missing at the end"
    broken = reopened(files).broken
    assert broken is not None
    assert (broken.line, broken.what) == (2, "entry 2 should stand here, and entry 4 does")
    assert breaks(files) == ["missing"]


def test_a_file_that_is_cut_while_the_hub_runs_is_noted(files: LogFiles, log: AuditFile):
    log.append([entry(), entry(), entry()])
    os.truncate(files.current, files.current.stat().st_size - 10)
    log.append([entry(node="den")])
    assert breaks(files) == ["torn", "missing"]
    assert said(files)[-1]["node"] == "den"


def test_a_log_that_is_taken_away_while_the_hub_runs_is_noted(files: LogFiles, log: AuditFile):
    log.append([entry(), entry()])
    files.current.unlink()
    log.append([entry(node="den")])
    assert breaks(files) == ["missing"]
    assert [line["seq"] for line in said(files)] == [3, 4]


@pytest.mark.parametrize("where", [0, 1, 2])
def test_a_change_of_any_line_is_found_by_its_number(files: LogFiles, log: AuditFile, where: int):
    log.append([entry(node="den"), entry(node="den"), entry(node="den")])
    log.close()
    lines = files.current.read_bytes().splitlines(keepends=True)
    lines[where] = lines[where].replace(b"den", b"dan")
    files.current.write_bytes(b"".join(lines))
    broken = verify(files).broken
    assert broken is not None
    assert (broken.line, broken.what) == (where + 1, "this line was changed after it was written")
    assert reopened(files).broken == broken
    assert "chain" in breaks(files)


@pytest.mark.parametrize(("order", "line"), [((1, 2), 1), ((0, 2), 2), ((0, 2, 1), 2), ((0, 0, 1, 2), 2)])
def test_lines_that_are_removed_moved_or_doubled_are_found(
    files: LogFiles, log: AuditFile, order: tuple[int, ...], line: int
):
    log.append([entry(), entry(), entry()])
    log.close()
    lines = files.current.read_bytes().splitlines(keepends=True)
    files.current.write_bytes(b"".join(lines[place] for place in order))
    broken = verify(files).broken
    assert broken is not None
    assert broken.line in {line, 0}


def test_a_whole_other_chain_is_found_at_the_next_start(files: LogFiles, log: AuditFile, tmp_path: Path):
    log.append([entry(), entry()])
    log.close()
    forged = LogFiles(tmp_path / "forged")
    other = AuditFile(forged)
    other.append([entry(node="mine"), entry(node="mine")])
    other.close()
    files.current.write_bytes(forged.current.read_bytes())
    reopened(files)
    assert breaks(files) == ["replaced"]


def test_two_processes_take_turns(files: LogFiles, log: AuditFile):
    log.append([entry()])
    other = AuditFile(files)
    other.append([entry("cert.issue")])
    log.append([entry()])
    other.append([entry()])
    other.close()
    report = verify(files)
    assert (report.entries, report.breaks, report.broken) == (4, 0, None)


def test_the_chain_goes_on_in_the_next_file_and_the_oldest_goes(files: LogFiles):
    log = AuditFile(files, file_bytes_max=1_000)
    for number in range(400):
        log.append([entry(number=number)])
    assert len(files.archives()) == FILES_MAX
    report = verify(files)
    assert report.broken is None
    assert report.first > 1
    assert report.entries == report.last - report.first + 1
    log.close()
    assert reopened(files).broken is None
    next(iter(files.archives().values())).unlink()
    broken = verify(files).broken
    assert broken is not None
    assert "missing at the beginning" in broken.what


def test_a_crash_between_two_files_loses_nothing(files: LogFiles, log: AuditFile):
    log.append([entry(), entry()])
    log.close()
    files.current.rename(files.archive(2))
    report = reopened(files)
    assert (report.entries, report.breaks, report.broken) == (3, 0, None)


WRITER = """
import sys
from pathlib import Path
from hub.audit_file import AuditFile, Entry
from hubspoke.auditlog.files import LogFiles
log = AuditFile(LogFiles(Path(sys.argv[1])), file_bytes_max=20_000)
print("ready", flush=True)
while True:
    log.append([Entry("2026", "flood", {"text": "x" * 150})] * 40)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
def test_a_kill_at_any_moment_leaves_a_log_that_goes_on(files: LogFiles):
    for kill in range(KILLS):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, files.directory], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            while not files.current.exists() or files.current.stat().st_size < 3_000 * (kill + 1):
                assert writer.poll() is None
            writer.send_signal(signal.SIGKILL)
        report = reopened(files)
        assert report.broken is None, report
