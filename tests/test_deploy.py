"""The files for service managers fit the programs that they start."""

from __future__ import annotations

import plistlib
import re
import shutil
import subprocess
import sysconfig
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

from hub.ports import STOP_GRACE_S
from hubspoke.cli.failures import Exit
from hubspoke.paths import SERVICE_DIR
from pki.disk import DIRECTORY_MODE
from spoke.link.session import DRAIN_S

ROOT = Path(__file__).parent.parent
SYSTEM_UNITS = sorted(ROOT.glob("deploy/systemd/*.service"))
UNITS = [*SYSTEM_UNITS, *sorted(ROOT.glob("deploy/systemd/user/*.service"))]
PLISTS = sorted(ROOT.glob("deploy/launchd/*.plist"))
DRAINS_S = {"hub-server": STOP_GRACE_S, "spoke-agent": DRAIN_S}
BINARIES = re.compile(r"/usr/local/bin/|%h/\.local/bin/")
VERIFY_S_MAX = 30


def name_of(path: Path) -> str:
    return path.relative_to(ROOT / "deploy").as_posix()


every_unit = pytest.mark.parametrize("unit", UNITS, ids=name_of)
every_system_unit = pytest.mark.parametrize("unit", SYSTEM_UNITS, ids=name_of)
every_plist = pytest.mark.parametrize("plist", PLISTS, ids=name_of)


def settings(unit: Path) -> dict[str, list[str]]:
    """Give the values of every key, in their order."""
    found = defaultdict(list)
    for line in unit.read_text(encoding="utf-8").splitlines():
        key, sign, value = line.partition("=")
        if sign and not line.startswith("#"):
            found[key].append(value)
    return found


def command_of(unit: Path) -> str:
    (start,) = settings(unit)["ExecStart"]
    assert BINARIES.match(start), f"{start} is not where docs/install.md puts it"
    return BINARIES.sub("", start)


def test_there_is_a_unit_and_a_plist_for_each_service():
    services = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]) - {"hubspoke"}
    assert {command_of(unit) for unit in SYSTEM_UNITS} == services == set(DRAINS_S)
    assert sorted(map(command_of, UNITS)) == sorted([*services, *services])
    assert len(PLISTS) == len(services)


@every_unit
def test_a_unit_starts_a_command_that_exists(unit):
    assert command_of(unit) in DRAINS_S  # and no options: a service is set up in hubspoke.toml


@every_unit
def test_a_unit_waits_until_the_answers_have_ended(unit):
    (wait,) = settings(unit)["TimeoutStopSec"]
    assert int(wait) > DRAINS_S[command_of(unit)]


@every_unit
def test_a_unit_is_told_and_watched(unit):
    assert (settings(unit)["Type"], settings(unit)["WatchdogSec"]) == (["notify"], ["30"])


@every_unit
def test_a_unit_does_not_start_again_what_cannot_work(unit):
    (statuses,) = settings(unit)["RestartPreventExitStatus"]
    assert {int(status) for status in statuses.split()} == {Exit.USAGE, Exit.IDENTITY}


@pytest.mark.parametrize("unit", [unit for unit in UNITS if "spoke.service" in unit.name], ids=name_of)
def test_engines_live_until_the_agent_has_drained(unit):
    assert settings(unit)["KillMode"] == ["mixed"]


@every_system_unit
def test_a_system_unit_keeps_its_state_where_the_programs_look(unit):
    of = settings(unit)
    assert f"/var/lib/{of['StateDirectory'][0]}" == str(SERVICE_DIR)
    assert int(of["StateDirectoryMode"][0], 8) == DIRECTORY_MODE


@every_unit
def test_systemd_accepts_a_unit(unit, tmp_path):
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("this machine has no systemd-analyze to ask")
    # The programs that the tests run with stand for the installed ones.
    text = BINARIES.sub(f"{sysconfig.get_path('scripts')}/", unit.read_text(encoding="utf-8"))
    copy = tmp_path / unit.name
    copy.write_text(text, encoding="utf-8")
    whose = ["--user"] if unit.parent.name == "user" else []
    result = subprocess.run(
        [program, "verify", "--man=no", *whose, copy],
        capture_output=True,
        text=True,
        check=False,
        timeout=VERIFY_S_MAX,
    )
    # It speaks of other units too, on a machine where those have faults.
    assert [line for line in result.stderr.splitlines() if unit.stem in line] == []


@every_plist
def test_a_plist_starts_a_command_that_exists_and_waits_for_it(plist):
    job = plistlib.loads(plist.read_bytes())
    match = re.search(r'exec "\$HOME/\.local/bin/([a-z-]+)"', job["ProgramArguments"][-1])
    assert match, job["ProgramArguments"]
    assert job["Label"] == plist.stem
    assert job["ExitTimeOut"] > DRAINS_S[match[1]]
