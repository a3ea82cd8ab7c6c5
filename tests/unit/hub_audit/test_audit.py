"""The audit log as the hub uses it: it never waits, loses nothing silently, and no flood fills a disk."""

from __future__ import annotations

import json
import logging
import threading
from typing import TYPE_CHECKING

import pytest

from hub import audit
from hub.audit import Audit
from hub.audit_file import AuditFile, Entry
from hubspoke.auditlog.files import LogFiles, verify
from hubspoke.clock import SystemClock
from tests.fakes.clock import MovableClock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WAIT_S = 10.0


def said(directory: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (directory / "audit.jsonl").read_text().splitlines()]


def test_what_is_noted_is_on_the_disk_in_order(tmp_path: Path):
    with Audit.open(tmp_path, SystemClock()) as log:
        assert log.is_new
        for number in range(1_000):
            log.note("cert.renew", node="den", number=number)
    assert [line["number"] for line in said(tmp_path)] == list(range(1_000))
    report = verify(LogFiles(tmp_path))
    assert (report.entries, report.broken) == (1_000, None)
    with Audit.open(tmp_path, SystemClock()) as again:
        assert not again.is_new


def test_a_fact_is_cut_and_cannot_break_a_line(tmp_path: Path):
    with Audit.open(tmp_path, SystemClock()) as log:
        log.note("authn.denied", why='a"\n\x1b[2J\ud800' + "é" * 5_000)
    (line,) = said(tmp_path)
    assert str(line["why"]).startswith('a"??[2J?é')
    assert len(str(line["why"])) == audit.FACT_CHARS_MAX
    assert verify(LogFiles(tmp_path)).broken is None


def test_no_fact_can_pass_for_a_field_of_the_chain(tmp_path: Path):
    with Audit.open(tmp_path, SystemClock()) as log, pytest.raises(ValueError, match="hash"):
        log.note("authn.denied", hash="0")


def test_refusals_of_one_kind_are_counted_after_a_few(tmp_path: Path):
    clock = MovableClock()
    with Audit.open(tmp_path, clock) as log:
        for _ in range(10_000):
            log.note_often("authn.denied", peer="10.0.0.7", reason="expired")
        log.note_often("authn.denied", peer="10.0.0.8", reason="expired")
    lines = said(tmp_path)
    assert len(lines) == 7
    assert [line["peer"] for line in lines[:6]] == ["10.0.0.7"] * 5 + ["10.0.0.8"]
    assert lines[6]["repeats"] == 10_000 - 5


def test_no_number_of_different_names_fills_a_disk(tmp_path: Path):
    with Audit.open(tmp_path, MovableClock()) as log:
        for number in range(20_000):
            log.note_often("authn.denied", peer=f"fd00::{number:x}", reason="expired")
    lines = said(tmp_path)
    assert len(lines) < 300
    assert lines[-1]["event"] == "audit.held_back"
    assert sum(int(str(line.get("repeats", 1))) for line in lines) == 20_000


class StuckFile(AuditFile):
    """A disk that takes nothing until it may."""

    def __init__(self, directory: Path) -> None:
        super().__init__(LogFiles(directory))
        self.may_write, self.tried = threading.Event(), threading.Event()

    def append(self, entries: Sequence[Entry]) -> None:
        self.tried.set()
        if not self.may_write.is_set():
            raise OSError(28, "No space left on device")
        super().append(entries)


def test_a_full_disk_stops_nobody_and_what_is_lost_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(audit, "LOOK_S", 0.01)
    file = StuckFile(tmp_path)
    log = Audit(file, SystemClock())
    log.note("hub.start")
    assert file.tried.wait(WAIT_S)
    many = audit.QUEUE_MAX + 100
    for _ in range(many):
        log.note("flood")
    file.may_write.set()
    log.close()
    lines = said(tmp_path)
    (overflow,) = [line for line in lines if line["event"] == "audit.overflow"]
    assert overflow["lost"] == many + 1 - (len(lines) - 1)
    assert "No space left" in str([record.__dict__.get("why") for record in caplog.records])
    assert verify(LogFiles(tmp_path)).broken is None


def test_an_end_that_the_disk_does_not_take_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    log = Audit(StuckFile(tmp_path), SystemClock())
    log.note("hub.stop")
    log.close()
    (record,) = [r for r in caplog.records if r.message == "audit log not written to its end"]
    assert record.__dict__["lost"] == 1
    assert record.levelno == logging.ERROR
