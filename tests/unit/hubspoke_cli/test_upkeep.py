"""Models by hand: load, unload, pull, rm, and what is in memory."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.api.models.v1 import models_pb2
from hubspoke.cli.failures import Exit
from hubspoke.errors import Busy, DoesNotFit, PermissionDenied, Unsupported
from tests.fakes.hub import FakeHub

GIB = 1 << 30


def a_model() -> pb.ModelSummary:
    model = pb.ModelSummary(key="sha256:aa", names=["tiny\x1b"], capabilities=[1])
    loaded = model.replicas.add(spoke="den", state=3, slots=4, busy=0, engine="ollama", context_tokens=4096)
    loaded.memory_bytes, loaded.vram_bytes, loaded.pinned = 4 * GIB, 3 * GIB, True
    loaded.decode_tokens_per_second = 45.4
    loaded.used_at.FromDatetime(datetime.now(UTC) - timedelta(minutes=5, seconds=1))
    model.replicas.add(spoke="cellar", state=2, engine="embedded")
    model.replicas.add(spoke="attic", state=1, engine="embedded")
    return model


class TestLoad:
    def test_a_load_is_ordered_and_its_end_told(self, mesh, run_at):
        hub = FakeHub(mesh.hub)
        ran = run_at(hub, "load", "tiny", "--spoke", "attic", "--pin")
        assert hub.ordered == [models_pb2.LoadModelRequest(model="tiny", spoke="attic", pin=True)]
        assert ran.stderr == "attic loads tiny, which takes about 9 s ...\n"
        for fact in ("in memory on attic (ollama)", "2 slots of 4096 tokens", "3.0 GiB", "pinned"):
            assert fact in ran.stdout

    def test_json_is_one_event_a_line(self, mesh, run_at):
        events = [
            json.loads(line)
            for line in run_at(FakeHub(mesh.hub), "load", "tiny", "--json").stdout.splitlines()
        ]
        assert events[2] == {"event": "loading", "spoke": "den", "elapsed_s": 2.0, "expected_s": 9.0}
        assert events[3] == {
            "event": "loaded",
            "spoke": "den",
            "engine": "ollama",
            "model": "tiny",
            "slots": 2,
            "context_tokens": 4096,
            "memory_bytes": 3 * GIB,
            "pinned": False,
        }


class TestUnload:
    def test_it_says_where_it_was(self, mesh, run_at):
        ran = run_at(FakeHub(mesh.hub, unloaded=["attic", "den"]), "unload", "tiny")
        assert ran.stdout == "tiny has left memory on attic, den\n"

    def test_it_says_that_it_was_nowhere(self, mesh, run_at):
        ran = run_at(FakeHub(mesh.hub, unloaded=[]), "unload", "tiny", "--spoke", "den")
        assert (ran.exit_code, ran.stdout) == (Exit.DONE, "tiny was not in memory on den\n")

    def test_json_lists_the_spokes(self, mesh, run_at):
        assert json.loads(run_at(FakeHub(mesh.hub), "unload", "tiny", "--json").stdout) == {"spokes": ["den"]}


class TestRm:
    def test_it_says_where_it_was(self, mesh, run_at):
        hub = FakeHub(mesh.hub, unloaded=["attic", "den"])
        ran = run_at(hub, "rm", "tiny", "--spoke", "den", "--yes")
        assert ran.stdout == "tiny is deleted on attic, den\n"
        assert hub.ordered == [models_pb2.DeleteModelRequest(model="tiny", spoke="den")]

    def test_json_lists_the_spokes(self, mesh, run_at):
        ran = run_at(FakeHub(mesh.hub), "rm", "tiny", "--yes", "--json")
        assert json.loads(ran.stdout) == {"spokes": ["den"]}

    def test_who_is_at_no_terminal_has_to_say_yes_beforehand(self, mesh, run_at):
        hub = FakeHub(mesh.hub)
        ran = run_at(hub, "rm", "tiny", stdin="y\n")
        assert (ran.exit_code, hub.ordered) == (Exit.USAGE, [])
        assert "--yes" in ran.stderr


class TestPull:
    def test_a_pipe_hears_a_line_for_each_step(self, mesh, run_at):
        ran = run_at(FakeHub(mesh.hub), "pull", "llama3.2:1b")
        assert ran.stderr.splitlines() == ["den: pulling manifest", "den: pulling layer, 4.0 MiB"]
        assert ran.stdout == "llama3.2:1b is on den (ollama); next: `hubspoke ask llama3.2:1b`\n"

    def test_json_is_one_event_a_line(self, mesh, run_at):
        ran = run_at(FakeHub(mesh.hub), "pull", "llama3.2:1b", "--json")
        events = [json.loads(line) for line in ran.stdout.splitlines()]
        assert [event["event"] for event in events] == ["pulling", "pulling", "pulling", "pulled"]
        assert events[1] == {
            "event": "pulling",
            "spoke": "den",
            "step": "pulling layer",
            "completed_bytes": 1 << 20,
            "total_bytes": 4 << 20,
        }
        assert events[3] == {"event": "pulled", "spoke": "den", "engine": "ollama", "model": "llama3.2:1b"}


class TestPs:
    def test_a_table_shows_what_is_in_memory(self, mesh, run_at):
        ran = run_at(FakeHub(mesh.hub, models=[a_model()]), "ps")
        _, den, cellar = ran.stdout.splitlines()
        for fact in (
            "tiny ",
            "ollama",
            "4.0 GiB, 75% on cards",
            "4096",
            "0 of 4",
            "45 tokens/s",
            "5 min, pinned",
        ):
            assert fact in den
        assert "loading" in cellar
        assert max(map(len, ran.stdout.splitlines())) <= 100

    def test_json_has_a_row_for_each_model_and_spoke(self, mesh, run_at):
        held = json.loads(run_at(FakeHub(mesh.hub, models=[a_model()]), "ps", "--json").stdout)["models"]
        assert [(one["spoke"], one["state"]) for one in held] == [("den", "loaded"), ("cellar", "loading")]
        assert (held[0]["key"], held[0]["pinned"], held[0]["vram_bytes"]) == ("sha256:aa", True, 3 * GIB)

    def test_an_empty_memory_says_how_to_fill_it(self, mesh, run_at):
        assert "hubspoke load MODEL" in run_at(FakeHub(mesh.hub), "ps").stdout


@pytest.mark.parametrize("command", [["load"], ["unload"], ["pull"], ["rm", "--yes"]])
def test_who_is_no_admin_is_told_how_to_become_one(mesh, run_at, command):
    ran = run_at(FakeHub(mesh.hub, refuses=PermissionDenied("this identity may not")), *command, "tiny")
    assert "hubspoke token create NAME --role admin" in ran.stderr


@pytest.mark.parametrize("command", [["load"], ["unload"], ["pull"], ["rm", "--yes"]])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PermissionDenied("not for apps"), Exit.IDENTITY),
        (DoesNotFit("needs 7.9 GiB"), Exit.FULL),
        (Busy("3 requests run on it"), Exit.FAILED),
        (Unsupported("no spoke can pull"), Exit.FAILED),
    ],
)
def test_a_refusal_is_a_sentence_and_a_code(mesh, run_at, command, error, code):
    ran = run_at(FakeHub(mesh.hub, refuses=error), *command, "tiny")
    assert (ran.exit_code, ran.stdout) == (code, "")
    assert error.message.lower() in ran.stderr.lower()
