"""The demo, run the way a user runs it: real processes, real certificates, real answers."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    Event = dict[str, object]

ROOT = Path(__file__).parent.parent
RUN_S_MAX = 50
NEEDS_SIGNALS = pytest.mark.skipif(
    os.name != "posix", reason="there is no way to press Ctrl-C for another process"
)


@dataclass(frozen=True)
class Told:
    """What a demo has said, and left behind."""

    status: int
    events: list[Event]
    errors: str
    left_behind: list[str]

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["event"] == kind]

    def place(self, kind: str) -> int:
        """Say when, counted in events, the first one of *kind* came."""
        return next(place for place, event in enumerate(self.events) if event["event"] == kind)


@contextmanager
def demo(scratch: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run a demo that keeps everything in *scratch*; it has ended when the block has."""
    with subprocess.Popen(
        [sys.executable, "-m", "examples.demo", *options],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(scratch)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield process
            process.wait(RUN_S_MAX)
        finally:
            process.kill()


@contextmanager
def an_ollama_program() -> Iterator[str]:
    """Run the double of Ollama, and give its URL."""
    command = (sys.executable, "-m", "tests.fakes.ollama_program")
    with subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE) as process:
        try:
            yield process.stdout.readline().split()[1]
        finally:
            process.terminate()


def left_behind(scratch: Path) -> list[str]:
    """List the files and the processes of a demo that are still there."""
    files = [str(path) for path in scratch.iterdir()]
    return files + [" ".join(process.cmdline()) for process in started_in(scratch)]


def started_in(scratch: Path) -> Iterator[psutil.Process]:
    """Give the processes that live in *scratch*: whatever a demo starts inherits that."""
    for process in psutil.process_iter():
        with suppress(psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            if process.environ().get("TMPDIR") == str(scratch):
                yield process


def until(process: subprocess.Popen[str], sign: str) -> list[str]:
    """Read what a demo says until a line that has *sign* in it; that line is the last one."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if sign in line:
            return lines
    raise AssertionError(f"the demo ended without {sign!r}:\n{''.join(lines)}\n{process.stderr.read()}")


def asked_as_curl_would(line: str) -> str:
    """Send what a line of curl sends, and give the answer: not every machine has curl."""
    _, _, url, _, header, _, body = shlex.split(line[line.index("curl ") :])
    name, _, value = header.partition(": ")
    form = "application/x-www-form-urlencoded"  # what curl calls whatever -d sends
    response = httpx.post(url, headers={name: value, "content-type": form}, content=body, trust_env=False)
    return response.json()["choices"][0]["message"]["content"]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Run the demo once, for a program."""
    scratch = tmp_path_factory.mktemp("demo")
    with demo(scratch, "--json") as process:
        output, errors = process.communicate(timeout=RUN_S_MAX)
    events = [json.loads(line) for line in output.splitlines()]
    return Told(process.returncode, events, errors, left_behind(scratch))


def test_the_demo_ends_well(told):
    assert (told.status, told.errors, told.events[-1]["event"]) == (0, "", "done")


def test_the_demo_leaves_nothing_behind(told):
    assert told.left_behind == []


def test_every_answer_is_right(told):
    answers = {(answer["model"], answer["prompt"]): answer["text"] for answer in told.of("answered")}
    assert answers["tiny", "capital of france"] == "Paris"
    assert answers["tiny", "reverse stream"] == "maerts"
    assert answers["tiny", "who are you"] == "I am bob."
    assert answers["nano", "upper mesh"] == "MESH"
    assert all(answer["is_right"] for answer in told.of("answered"))
    assert told.events[-1]["total"]["right"] == told.events[-1]["total"]["asked"] == len(told.of("answered"))


def test_both_spokes_answer_many_questions_at_once(told):
    many = told.of("tally")[1]
    assert set(many["by_spoke"]) == {"attic", "den"}


def test_answers_come_in_pieces_side_by_side(told):
    speakers = [event["number"] for event in told.of("said")]
    changes = sum(one != other for one, other in pairwise(speakers))
    assert len(speakers) > len(set(speakers))
    assert changes >= len(set(speakers))  # one after the other would change once less than there are speakers


def test_the_real_command_line_lists_both_spokes_with_models_and_memory(told):
    (status,) = told.of("status")
    spokes = {spoke["name"]: spoke for spoke in status["spokes"]}
    models = {
        name: {model["name"] for model in spoke["inventory"]["models"]} for name, spoke in spokes.items()
    }
    assert models == {"attic": {"tiny"}, "den": {"nano", "tiny"}}
    assert {name: spoke["slots"] for name, spoke in spokes.items()} == {"attic": 2, "den": 4}
    for spoke in spokes.values():
        assert spoke["state"] == "ready"
        assert (
            0 < spoke["inventory"]["memory"]["available_bytes"] <= spoke["inventory"]["memory"]["total_bytes"]
        )
        assert all(model["loaded"]["memory_bytes"] > 0 for model in spoke["inventory"]["models"])


def test_questions_of_a_spoke_that_dies_are_answered_by_the_other_one(told):
    frozen, killed = told.place("froze"), told.place("killed")
    taken = {
        event["number"]
        for event in told.events[frozen:killed]
        if event["event"] == "began" and event["spoke"] == "den"
    }
    answers = {answer["number"]: answer for answer in told.of("answered")}
    assert taken
    assert {(answers[number]["spoke"], answers[number]["attempt"]) for number in taken} == {("attic", 2)}


def test_the_hub_notices_the_death_and_says_what_is_missing(told):
    (lost,) = told.of("lost")
    (refused,) = told.of("refused")
    assert lost["after_s"] < 3
    assert refused["reason"] == "no_spoke"
    assert "den was lost" in refused["message"]


def test_an_app_asks_over_http_with_a_key_of_its_own(told):
    (answer,) = told.of("overhttp")
    assert (answer["text"], answer["is_right"]) == ("Rome", True)
    assert answer["curl"].startswith(
        f"curl -s {answer['url']}/v1/chat/completions -H 'Authorization: Bearer hsk_"
    )


def test_a_spoke_that_died_comes_back_without_a_new_token(told):
    returned = told.place("returned")
    afterwards = [event["spoke"] for event in told.events[returned:] if event["event"] == "answered"]
    assert "den" in afterwards
    assert sum("joins" in step["what"] for step in told.of("step")) == 3


def test_a_spoke_finds_the_ollama_of_this_machine_and_answers_with_it(tmp_path, monkeypatch):
    with an_ollama_program() as url:
        monkeypatch.setenv("OLLAMA_HOST", url)
        with demo(tmp_path, "--json") as process:
            output, errors = process.communicate(timeout=RUN_S_MAX)
    events = [json.loads(line) for line in output.splitlines()]
    (own,) = [event for event in events if event["event"] == "ownollama"]
    assert (process.returncode, errors) == (0, "")
    assert own["spoke"] == "cellar"
    assert own["text"]


@NEEDS_SIGNALS
def test_plain_lines_end_with_what_is_next_and_the_mesh_stays_until_ctrl_c(tmp_path):
    with demo(tmp_path, "--plain", "--keep") as process:
        lines = until(process, "export HUBSPOKE_STATE_DIR=")
        text = "".join(lines)
        assert text.isascii()
        assert re.search(r"All in all: (\d+) of \1 right", text)
        assert "What next" in text
        place = lines[-1].partition("export ")[2].strip().partition("=")
        status = subprocess.run(
            [Path(sys.executable).parent / "hubspoke", "status", "--json"],
            env={**os.environ, place[0]: place[2]},
            capture_output=True,
            check=True,
            timeout=RUN_S_MAX,
        )
        states = {spoke["name"]: spoke["state"] for spoke in json.loads(status.stdout)["spokes"]}
        assert states == {"attic": "ready", "den": "ready"}
        assert asked_as_curl_would(until(process, "curl -s ")[-1]) == "Rome"
        process.send_signal(signal.SIGINT)
    assert (process.returncode, left_behind(tmp_path)) == (0, [])


@NEEDS_SIGNALS
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_interrupted_cleans_up(tmp_path, number):
    with demo(tmp_path, "--json") as process:
        until(process, '"event":"froze"' if number == signal.SIGINT else '"event":"step"')
        process.send_signal(number)
        process.stdout.read()
    assert (process.returncode, left_behind(tmp_path)) == (130, [])


@NEEDS_SIGNALS
def test_a_demo_whose_hub_dies_shows_its_log_and_says_what_to_do(tmp_path):
    with demo(tmp_path, "--json") as process:
        until(process, '"event":"asked"')
        (hub,) = (one for one in started_in(tmp_path) if any("hub-server" in word for word in one.cmdline()))
        hub.kill()
        failed = json.loads(process.stdout.readlines()[-1])
    assert failed["event"] == "failed"
    assert "hub-server ended" in failed["message"]
    assert any("hub ready" in line for line in failed["lines"])
    assert failed["advice"]
    assert (process.returncode, left_behind(tmp_path)) == (1, [])


def test_the_root_of_a_mesh_that_answers_is_exchanged_without_an_error():
    command = [sys.executable, "-m", "examples.demo_rotation"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("0 errors, old generation refused.")
