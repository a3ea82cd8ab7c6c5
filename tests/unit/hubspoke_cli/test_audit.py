"""`hubspoke audit` on a log that a hub has written."""

import json
from pathlib import Path

import pytest

from hub.audit import Audit
from hubspoke.auditlog.files import LogFiles
from hubspoke.clock import SystemClock
from tests.fakes.clock import MovableClock
from tests.unit.hubspoke_cli.conftest import Run


@pytest.fixture
def files(tmp_path: Path) -> LogFiles:
    """A log of four entries, the oldest of them two hours old."""
    files = LogFiles(tmp_path / "state" / "hub")
    clock = MovableClock()
    clock.move(-2 * 3_600)
    with Audit.open(files.directory, clock) as audit:
        audit.note("cert.issue", node="attic", serial="a1")
    with Audit.open(files.directory, SystemClock()) as audit:
        audit.note("cert.renew", node="den", serial="b2")
        audit.note("authn.denied", peer="10.0.0.7", identity="spiffe://hubspoke.internal/spoke/den")
        audit.note("authn.denied", peer="10.0.0.7", why="\x1b[2Jexpired")
    return files


def test_a_whole_log_says_how_much_there_is_and_since_when(run: Run, files: LogFiles):
    said = run("audit", "verify")
    first, *_, last = map(json.loads, files.current.read_text().splitlines())
    assert said.stdout == f"The audit log is whole: 4 entries, from {first['ts']} to {last['ts']}.\n"
    told = json.loads(run("audit", "verify", "--json").stdout)
    assert (told["entries"], told["first"], told["last"], told["broken"]) == (4, 1, 4, None)


def test_the_first_broken_line_is_named_with_what_is_wrong(run: Run, files: LogFiles):
    files.current.write_text(files.current.read_text().replace('"a1"', '"a2"'))
    said = run("audit", "verify")
    assert said.exit_code == 1
    assert "Audit.jsonl, line 1: this line was changed after it was written." in said.stderr
    as_json = run("audit", "verify", "--json")
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout)["broken"] == {
        "file": "audit.jsonl",
        "line": 1,
        "what": "this line was changed after it was written",
    }


def test_a_missing_end_and_a_missing_word_of_it_are_told(run: Run, files: LogFiles):
    lines = files.current.read_bytes().splitlines(keepends=True)
    files.current.write_bytes(b"".join(lines[:-1]))
    assert "entries 4 to 4 are missing at the end" in run("audit", "verify").stderr
    files.head.unlink()
    assert "Audit.head, line 1: this does not say where the log ends" in run("audit", "verify").stderr


def test_one_file_is_verified_wherever_it_was_taken_to(run: Run, files: LogFiles, tmp_path: Path):
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(files.current.read_bytes())
    assert "4 entries" in run("audit", "verify", str(copy)).stdout
    copy.write_bytes(copy.read_bytes()[:-2])
    assert "copy.jsonl, line 4: this line is cut off" in run("audit", "verify", str(copy)).stderr.lower()


def test_a_break_that_the_hub_has_mended_is_mentioned(run: Run, files: LogFiles):
    with files.current.open("ab") as stream:
        stream.write(b'{"seq":5,')
    with Audit.open(files.directory, SystemClock()) as audit:
        audit.note("hub.start")
    said = run("audit", "verify")
    assert said.exit_code == 0
    assert "1 of the hub's own words on a break: `hubspoke audit show --event audit.break`" in said.stderr
    assert "reason=torn bytes=9" in run("audit", "show", "--event", "audit.break").stdout


def test_entries_are_shown_one_a_line_and_cannot_steer_a_terminal(run: Run, files: LogFiles):
    lines = run("audit", "show").stdout.splitlines()
    assert [line.split(" ")[1] for line in lines] == [
        "cert.issue",
        "cert.renew",
        "authn.denied",
        "authn.denied",
    ]
    assert lines[0].endswith("Z cert.issue node=attic serial=a1")
    assert "\x1b" not in "".join(lines)
    assert run("audit", "show", "--json").stdout == files.current.read_text()


@pytest.mark.parametrize(
    ("filters", "seqs"),
    [
        (["--node", "den"], [2, 3]),
        (["--event", "cert"], [1, 2]),
        (["--event", "authn.denied"], [3, 4]),
        (["--event", "auth"], []),
        (["--since", "1h"], [2, 3, 4]),
        (["--since", "3h", "--node", "attic"], [1]),
    ],
)
def test_filters_leave_what_they_name(run: Run, files: LogFiles, filters: list[str], seqs: list[int]):
    shown = run("audit", "show", "--json", *filters).stdout.splitlines()
    assert [json.loads(line)["seq"] for line in shown] == seqs


@pytest.mark.parametrize("subcommand", ["verify", "show"])
def test_where_no_hub_runs_there_is_no_log(run: Run, subcommand: str):
    said = run("audit", subcommand)
    assert said.exit_code == 1
    assert "this has to run where the hub does" in said.stderr
