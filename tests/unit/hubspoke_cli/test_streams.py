"""Standard streams that are closed, full, or hold no text."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hubspoke.cli.failures import Exit
from tests.fakes.hub import FakeHub, serve_mesh

HUBSPOKE = (sys.executable, "-c", "from hubspoke.cli import main; main()")
NO_TEXT = "is not text in UTF-8"
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="no shell that can close a stream")


@pytest.fixture
def started(mesh, state_dir):
    """Run a command in a process of its own, as a shell does it, against a hub that is served meanwhile."""

    def start(*arguments: str, redirected: str = "", stdin: bytes = b"", **variables: str):
        hub = FakeHub(mesh.hub)
        with serve_mesh(hub) as address:
            there = ("--state-dir", state_dir, "--hub", address)
            ran = subprocess.run(
                ("/bin/sh", "-c", f'exec "$@" {redirected}', "sh", *HUBSPOKE, *arguments, *there),
                input=stdin,
                capture_output=True,
                timeout=30,
                check=False,
                env={**os.environ, **variables},
            )
        return hub, ran

    return start


@POSIX
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_the_null_device(started, closed: str):
    hub, ran = started("ask", "tiny", "x", redirected=closed)
    assert (ran.returncode, len(hub.asked)) == (Exit.DONE, 1)
    assert ran.stdout == (b"" if ">&-" in closed.split() else b"Hello\n")


@POSIX
def test_a_closed_input_has_nothing_to_ask(started):
    hub, ran = started("ask", "tiny", "-", redirected="<&-")
    assert (ran.returncode, hub.asked) == (Exit.USAGE, [])
    assert b"nothing to ask" in ran.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
@pytest.mark.parametrize("command", [("ask", "tiny", "x"), ("ask", "tiny", "x", "--json"), ("models",)])
def test_a_full_disk_is_a_sentence(started, command):
    _, ran = started(*command, redirected=">/dev/full")
    assert (ran.returncode, ran.stderr) == (
        Exit.FAILED,
        b"Error: There is no space left where standard output goes.\n",
    )


@POSIX
@pytest.mark.parametrize("strict", ["strict", "surrogateescape"])  # as a locale with UTF-8 has it, and none
@pytest.mark.parametrize("command", [("ask", "tiny", "-"), ("embed", "tiny", "-"), ("chat", "tiny")])
def test_what_is_no_text_is_not_sent(started, command, strict: str):
    hub, ran = started(*command, stdin=b"caf\xe9\n", PYTHONIOENCODING=f"utf-8:{strict}")
    assert (ran.returncode, hub.asked) == (Exit.USAGE, [])
    assert NO_TEXT in ran.stderr.decode()


@POSIX
@pytest.mark.parametrize("command", ["ask", "embed", "load", "unload", "pull"])
def test_an_argument_that_is_no_text_is_a_sentence(mesh, state_dir, command: str):
    texts = [b"x"] if command in {"ask", "embed"} else []
    with serve_mesh(FakeHub(mesh.hub)) as address:
        arguments = [command.encode(), b"caf\xe9", *texts, b"--state-dir", state_dir.encode()]
        ran = subprocess.run(
            [*(word.encode() for word in HUBSPOKE), *arguments, b"--hub", str(address).encode()],
            capture_output=True,
            timeout=30,
            check=False,
        )
    assert ran.returncode == Exit.FAILED
    assert ran.stderr.startswith(b"Error: A text holds what is not Unicode")
