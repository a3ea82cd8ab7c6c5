"""The settings of gRPC: ours unless somebody has chosen others, and never those of other people's programs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import pytest

from hubspoke.grpc_settings import SETTINGS, UNWANTED, prepare

START_S = 20


def test_what_somebody_has_chosen_stays():
    environ = {"GRPC_EXPERIMENTS": "theirs"}
    prepare(environ)
    assert environ == {**SETTINGS, "GRPC_EXPERIMENTS": "theirs"}


@pytest.mark.parametrize(
    ("module", "settings"),
    [("hub.cli", set(SETTINGS)), ("spoke.cli", set(SETTINGS)), ("hubspoke.client", set())],
)
def test_programs_of_ours_have_them_before_grpc_is_there_and_other_programs_never(
    module: str, settings: set[str]
):
    code = (
        f"import sys, os, {module}; print('grpc' in sys.modules, *sorted({set(SETTINGS)} & set(os.environ)))"
    )
    environ = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    said = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=START_S, check=True
    )
    has_grpc, *found = said.stdout.split()
    assert set(found) == settings
    assert has_grpc == str(not settings)


@pytest.mark.parametrize("module", ["hub.cli", "spoke.cli", "hubspoke.cli"])
def test_no_environment_says_whom_our_programs_trust(module: str):
    code = f"""
import os, stat, sys, logging
from {module} import main
os.umask(0o022)
main.format_epilog = lambda *_: open(sys.argv[1], "w").close()
main(["--help"], standalone_mode=False)
assert "grpc" not in sys.modules
print(oct(stat.S_IMODE(os.stat(sys.argv[1]).st_mode)), *sorted(set(os.environ) & set({UNWANTED!r})))
from hubspoke import grpc_settings
logging.basicConfig(format="%(message)s %(variable)s")
grpc_settings.tell(logging.getLogger("t"))
"""
    environ = {**os.environ, **dict.fromkeys(UNWANTED, "/tmp/theirs")}
    with tempfile.TemporaryDirectory() as folder:
        said = subprocess.run(
            [sys.executable, "-c", code, f"{folder}/file"],
            env=environ,
            capture_output=True,
            text=True,
            timeout=START_S,
            check=True,
        )
    mode = "0o600" if os.name == "posix" else "0o666"
    assert said.stdout.splitlines()[-1] == mode
    assert {line.split()[-1] for line in said.stderr.splitlines()} == set(UNWANTED)
    assert "/tmp/theirs" not in said.stderr
