"""What TAB completes: commands and options at once, names as the hub knows them, and never an error."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from hubspoke.api.admin.v1 import admin_pb2 as admin_pb
from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.api.types.v1 import types_pb2 as types_pb
from hubspoke.cli.names import CACHE_AGE_MAX, CACHE_FILE, Names
from hubspoke.errors import PermissionDenied
from tests.fakes.hub import NOWHERE, WAIT_S, FakeHub, MeshOnDisk, make_mesh, serve_mesh

MODELS = (
    pb.ModelSummary(key="sha256:aa", names=["tiny", "tin\x1b"], replicas=[pb.Replica(spoke="den", state=1)]),
    pb.ModelSummary(key="sha256:bb", names=["nano"], replicas=[pb.Replica(spoke="attic", state=1)]),
)
MEMORY = types_pb.Inventory(memory=types_pb.HostMemory(total_bytes=2, available_bytes=1))
SPOKES = tuple(admin_pb.SpokeStatus(name=name, state=1, inventory=MEMORY) for name in ("den", "empty"))


PATIENT = f"from hubspoke.cli import names; names.ASK_TIMEOUT_S = {WAIT_S}; "
"""For who presses TAB on a machine that has other things to do."""


def press_tab(
    *words: str, program: str = "hubspoke", package: str = "hubspoke", before: str = "", **environ: str
) -> list[str]:
    """Press TAB behind *words*, of which the last one is incomplete; nothing may be said but what completes."""
    ran = subprocess.run(
        [sys.executable, "-c", f"{before}from {package}.cli import main; main(prog_name={program!r})"],
        env={
            **os.environ,
            **environ,
            f"_{program.upper().replace('-', '_')}_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join([program, *words]),
            "COMP_CWORD": str(len(words)),
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert ran.stderr == ""
    return [line.partition(",")[2] for line in ran.stdout.splitlines() if line]


@pytest.fixture
def own(tmp_path: Path) -> MeshOnDisk:
    """A mesh whose names nobody has asked for."""
    return make_mesh(tmp_path)


def at(mesh: MeshOnDisk, address: str) -> dict[str, str]:
    return {"HUBSPOKE_STATE_DIR": str(mesh.admin.directory.parent), "HUBSPOKE_HUBS": address}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("un",), ["unload"]),
        (("ask", "x", "--thi"), ["--think"]),
        (("ask", "x", "--think", ""), ["none", "low", "medium", "high"]),
        (("token", ""), ["create"]),
    ],
)
def test_commands_and_options_need_no_hub(tmp_path, words, expected):
    assert press_tab(*words, HUBSPOKE_STATE_DIR=str(tmp_path)) == expected


@pytest.mark.parametrize(
    ("program", "package", "words", "expected"),
    [
        ("hub-server", "hub", ("",), ["run", "admin"]),
        ("hub-server", "hub", ("--mesh",), ["--mesh-port"]),
        ("spoke-agent", "spoke", ("j",), ["join"]),
        ("spoke-agent", "spoke", ("run", "--slo"), ["--slots"]),
    ],
)
def test_the_other_programs_complete_too(program, package, words, expected):
    assert press_tab(*words, program=program, package=package) == expected


def test_the_names_of_models_and_spokes_are_those_of_the_hub(own):
    hub = FakeHub(own.hub, models=MODELS, spokes=SPOKES)
    with serve_mesh(hub) as address:
        assert press_tab("ask", "t", before=PATIENT, **at(own, address)) == ["tiny"]
        assert press_tab("load", "tiny", "--spoke", "", **at(own, address)) == ["attic", "den", "empty"]
    assert hub.lists == 1
    assert (own.admin.directory / CACHE_FILE).stat().st_mode & 0o777 == 0o600


def test_an_app_completes_the_spokes_that_have_models(own):
    class ForApps(FakeHub):
        def ListSpokes(self, request, context):  # noqa: N802  # the proto names it
            self.refuses = PermissionDenied("not for apps")
            return super().ListSpokes(request, context)

    with serve_mesh(ForApps(own.hub, models=MODELS)) as address:
        names = press_tab("load", "tiny", "--spoke", "", before=PATIENT, **at(own, address))
    assert names == ["attic", "den"]


def test_old_names_are_asked_for_again(own):
    asked_at = datetime.now(UTC) - 2 * CACHE_AGE_MAX
    hub = FakeHub(own.hub, models=MODELS)
    with serve_mesh(hub) as address:
        old = msgspec.json.encode(Names(asked_at, (address,), ("old",), ()))
        (own.admin.directory / CACHE_FILE).write_bytes(old)
        assert press_tab("ask", "", before=PATIENT, **at(own, address)) == ["nano", "tiny"]


def test_names_of_another_hub_are_not_given(own):
    soon = datetime.now(UTC) + timedelta(seconds=5)
    other = msgspec.json.encode(Names(soon, (NOWHERE,), ("other",), ()))
    (own.admin.directory / CACHE_FILE).write_bytes(other)
    with serve_mesh(FakeHub(own.hub, models=MODELS)) as address:
        assert "other" not in press_tab("ask", "", **at(own, address))


@pytest.mark.parametrize("cached", [b"", b"{", b'{"asked_at": 1}', b'"\xff'])
def test_without_a_hub_there_is_nothing_and_no_error(own, cached):
    (own.admin.directory / CACHE_FILE).write_bytes(cached)
    assert press_tab("ask", "", **at(own, NOWHERE)) == []


def test_without_an_identity_there_is_nothing_and_no_error(tmp_path):
    assert press_tab("ask", "", HUBSPOKE_STATE_DIR=str(tmp_path)) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_for_all_our_programs(run, shell):
    script = run("completion", shell).stdout
    for variable in ("_HUBSPOKE_COMPLETE", "_HUB_SERVER_COMPLETE", "_SPOKE_AGENT_COMPLETE"):
        assert f"{variable}={shell}_complete" in script


def test_bash_takes_the_script(run, tmp_path):
    (tmp_path / "script").write_text(run("completion", "bash").stdout)
    program = f"source {tmp_path / 'script'}; complete -p hubspoke hub-server spoke-agent"
    ran = subprocess.run(
        ["bash", "--norc", "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert ran.stdout.count("complete -o nosort -F") == 3
