"""The examples, run the way a user runs them: real programs, with an identity on disk and a hub that answers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.errors import UnknownModel
from pki.address import Address
from pki.files import HubAddresses
from tests.fakes.hub import FakeHub, MeshOnDisk, answer, make_mesh, refuse, serve_mesh

ROOT = Path(__file__).parent.parent


@pytest.fixture
def mesh(tmp_path: Path) -> MeshOnDisk:
    return make_mesh(tmp_path)


def run(hub: FakeHub, mesh: MeshOnDisk, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    with serve_mesh(hub) as address:
        mesh.admin.save_addresses(HubAddresses(mesh=(Address(address),), enrol=(Address(address),)))
        return subprocess.run(
            [sys.executable, ROOT / "examples" / name, *arguments],
            env={**os.environ, "HUBSPOKE_STATE_DIR": str(mesh.admin.directory.parent)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


def adds(request: pb.InferRequest, _hub: FakeHub):
    """Let the program add, and say what it said."""
    turns = request.conversation.messages
    begun, *_, ended = answer()
    yield begun
    if len(turns) == 1:
        part = pb.ToolCallPart(index=0, id="a", name="add", arguments='{"a": 17, "b": 5}')
        yield pb.InferResponse(delta=pb.Delta(tool_calls=[part]))
    else:
        yield pb.InferResponse(delta=pb.Delta(text=f"It is {turns[-1].text}."))
    yield ended


def test_an_answer_is_streamed(mesh):
    ran = run(FakeHub(mesh.hub), mesh, "ask.py", "tiny", "hello")
    assert (ran.returncode, ran.stdout) == (0, "Hello"), ran.stderr


def test_a_program_without_a_loop_asks_too(mesh):
    model = pb.ModelSummary(key="sha256:aa", names=["tiny"])
    ran = run(FakeHub(mesh.hub, models=[model]), mesh, "ask_sync.py", "hello")
    assert (ran.returncode, ran.stdout) == (0, "tiny on den: Hello\n"), ran.stderr


def test_a_model_calls_functions_of_the_program(mesh):
    ran = run(FakeHub(mesh.hub, adds), mesh, "tools.py", "tiny", "add 17 5")
    assert (ran.returncode, ran.stdout) == (0, "It is 22.\n"), ran.stderr
    assert ran.stderr == '[add({"a": 17, "b": 5}) gives 22]\n'


def test_texts_are_sorted_by_nearness(mesh):
    ran = run(FakeHub(mesh.hub), mesh, "embed.py", "bge", "aaaa", "b", "cccccc")
    assert (ran.returncode, ran.stdout) == (0, "+25.312  cccccc\n+5.312  b\n"), ran.stderr


@pytest.mark.parametrize("name", ["ask.py", "tools.py"])
def test_an_error_is_a_reason_and_a_sentence(mesh, name):
    ran = run(FakeHub(mesh.hub, refuse(UnknownModel("no spoke has it"))), mesh, name, "tiny", "hello")
    assert (ran.returncode, ran.stderr) == (1, "unknown_model: no spoke has it\n")
