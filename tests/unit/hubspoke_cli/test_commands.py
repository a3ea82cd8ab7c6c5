import json
from pathlib import Path

import pytest

from hubspoke.api.admin.v1 import admin_pb2 as admin_pb
from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.cli.failures import Exit
from hubspoke.errors import DoesNotFit, PermissionDenied, UnknownModel
from pki.address import Address
from pki.authority_files import ROOT
from pki.files import NodeFiles
from pki.tokens import JoinToken
from tests.fakes.hub import FakeHub, MeshOnDisk, answer, refuse, serve_enrol, serve_mesh


def a_model() -> pb.ModelSummary:
    model = pb.ModelSummary(
        key="sha256:aa", names=["tiny", "[bold]"], size_bytes=1 << 30, capabilities=[2, 1, 5]
    )
    model.replicas.add(spoke="den", state=3, slots=2, busy=1, decode_tokens_per_second=45.5, pinned=True)
    model.replicas.add(spoke="attic", state=1)
    return model


def a_spoke() -> admin_pb.SpokeStatus:
    spoke = admin_pb.SpokeStatus(name="den", state=5, agent_version="0.1.0", slots=4, busy=1)
    spoke.last_seen_at.FromSeconds(1_700_000_000)
    spoke.inventory.memory.total_bytes = 32 << 30
    spoke.inventory.memory.available_bytes = 8 << 30
    gpu = spoke.inventory.gpus.add(index=0, kind=1, name="RTX 3060")
    gpu.memory_total_bytes, gpu.memory_free_bytes = 12 << 30, 6 << 30
    model = spoke.inventory.models.add(engine="embedded", name="tiny", capabilities=[1], state=1)
    model.plan.slots, model.plan.context_tokens = 2, 2048
    return spoke


class TestAsk:
    def test_the_answer_is_on_standard_output_and_who_served_it_beside_it(self, run, mesh, state_dir):
        with serve_mesh(FakeHub(mesh.hub)) as address:
            ran = run("ask", "tiny", "how", "are you?", "--state-dir", state_dir, "--hub", address)
        assert (ran.exit_code, ran.stdout) == (Exit.DONE, "Hello\n")
        assert "tiny on den: 2 tokens" in ran.stderr

    def test_words_and_options_reach_the_hub(self, run, mesh, state_dir):
        hub = FakeHub(mesh.hub)
        options = ("--system", "Be brief", "--max-tokens", "7", "--temperature", "0", "--seed", "-3")
        with serve_mesh(hub) as address:
            run("ask", "tiny", "how", "are you?", *options, "--state-dir", state_dir, "--hub", address)
        (asked,) = hub.asked
        assert [turn.text for turn in asked.conversation.messages] == ["Be brief", "how are you?"]
        assert (asked.max_output_tokens, asked.sampling.temperature, asked.sampling.seed) == (7, 0.0, -3)

    def test_a_dash_reads_standard_input(self, run, mesh, state_dir):
        hub = FakeHub(mesh.hub)
        with serve_mesh(hub) as address:
            run("ask", "tiny", "-", "--state-dir", state_dir, "--hub", address, stdin="from a pipe")
        assert hub.asked[0].conversation.messages[0].text == "from a pipe"

    def test_json_is_one_event_a_line(self, run, mesh, state_dir):
        def queued(_request, _hub):
            yield pb.InferResponse(waiting=pb.Waiting(cause=pb.Waiting.CAUSE_QUEUED))
            yield from answer("Hi")

        with serve_mesh(FakeHub(mesh.hub, queued)) as address:
            ran = run("ask", "tiny", "x", "--json", "--state-dir", state_dir, "--hub", address)
        assert [json.loads(line) for line in ran.stdout.splitlines()] == [
            {"event": "waiting", "spoke": None, "elapsed_s": None, "expected_s": None, "silent_s": None},
            {
                "event": "started",
                "spoke": "den",
                "model": "tiny",
                "model_key": "sha256:aa",
                "queue_s": 0.0,
                "attempt": 1,
                "also_named": [],
            },
            {"event": "delta", "text": "Hi"},
            {
                "event": "finished",
                "reason": "stop",
                "stop": "",
                "usage": {
                    "prompt_tokens": 3,
                    "output_tokens": 1,
                    "cached_tokens": None,
                    "prompt_s": None,
                    "decode_s": None,
                },
            },
        ]

    def test_a_model_cannot_steer_the_terminal(self, run, mesh, state_dir):
        hub = FakeHub(mesh.hub, lambda _request, _hub: answer("a\x1b[2Jb\r\n", "\tc"))
        with serve_mesh(hub) as address:
            ran = run("ask", "tiny", "x", "--state-dir", state_dir, "--hub", address)
        assert ran.stdout == "a[2Jb\n\tc\n"

    def test_what_is_not_plain_is_said(self, run, mesh, state_dir):
        def cut_off(_request, _hub):
            started = pb.Started(spoke="den", model="tiny", attempt=2, also_named=["sha256:bb"])
            yield pb.InferResponse(started=started)
            finished = pb.Finished(reason=2)
            finished.usage.output_tokens = 10
            finished.usage.decode_time.seconds = 2
            yield pb.InferResponse(finished=finished)

        with serve_mesh(FakeHub(mesh.hub, cut_off)) as address:
            ran = run("ask", "tiny", "x", "--state-dir", state_dir, "--hub", address)
        for fact in ("5.0 tokens/s", "ended early: length", "attempt 2", "also means sha256:bb"):
            assert fact in ran.stderr

    @pytest.mark.parametrize(
        ("error", "code"),
        [(UnknownModel("no spoke has it"), Exit.FAILED), (DoesNotFit("needs 7.9 GiB"), Exit.FULL)],
    )
    def test_a_refusal_is_a_sentence_and_a_code(self, run, mesh, state_dir, error, code):
        with serve_mesh(FakeHub(mesh.hub, refuse(error))) as address:
            ran = run("ask", "tiny", "x", "--state-dir", state_dir, "--hub", address)
        assert (ran.exit_code, ran.stdout) == (code, "")
        assert error.message.lower() in ran.stderr.lower()


class TestModels:
    def test_a_table_shows_where_each_one_is(self, run, mesh, state_dir):
        with serve_mesh(FakeHub(mesh.hub, models=[a_model()])) as address:
            ran = run("models", "--state-dir", state_dir, "--hub", address)
        for fact in (
            "tiny",
            "[bold]",
            "1.0 GiB",
            "den: 1 of 2 slots",
            "pinned",
            "attic: cold",
            "chat, tools",
        ):
            assert fact in ran.stdout

    def test_json_has_every_replica(self, run, mesh, state_dir):
        with serve_mesh(FakeHub(mesh.hub, models=[a_model()])) as address:
            ran = run("models", "--json", "--state-dir", state_dir, "--hub", address)
        (model,) = json.loads(ran.stdout)["models"]
        assert model["capabilities"] == ["chat", "completion", "tools"]
        assert model["replicas"][0] == {
            "spoke": "den",
            "state": "loaded",
            "slots": 2,
            "busy": 1,
            "decode_tokens_per_s": 45.5,
            "load_s": None,
            "engine": "",
            "context_tokens": 0,
            "memory_bytes": 0,
            "vram_bytes": None,
            "pinned": True,
            "used_at": None,
        }

    def test_an_empty_mesh_says_so(self, run, mesh, state_dir):
        with serve_mesh(FakeHub(mesh.hub)) as address:
            ran = run("models", "--state-dir", state_dir, "--hub", address)
        assert "No model can be asked" in ran.stdout


class TestStatus:
    def test_a_table_shows_memory_and_models(self, run, mesh, state_dir):
        with serve_mesh(FakeHub(mesh.hub, spokes=[a_spoke()])) as address:
            ran = run("status", "--state-dir", state_dir, "--hub", address)
        assert ran.exit_code == Exit.DONE
        for fact in ("den", "lost for", "1 of 4", "█████░░░░░", "6.0 GiB of 12.0"):
            assert fact in ran.stdout

    def test_an_engine_that_cannot_be_used_is_named_with_its_fault(self, run, mesh, state_dir):
        spoke = a_spoke()
        spoke.inventory.engines.add(name="ollama", fault="gone")
        with serve_mesh(FakeHub(mesh.hub, spokes=[spoke])) as address:
            ran = run("status", "--state-dir", state_dir, "--hub", address)
        assert "ollama cannot be" in ran.stdout

    def test_json_lists_every_spoke_with_models_and_memory(self, run, mesh, state_dir):
        with serve_mesh(FakeHub(mesh.hub, spokes=[a_spoke()])) as address:
            ran = run("status", "--json", "--state-dir", state_dir, "--hub", address)
        (spoke,) = json.loads(ran.stdout)["spokes"]
        assert sorted(spoke) == [
            "agent_version",
            "busy",
            "inventory",
            "last_seen_at",
            "name",
            "pools",
            "registered_at",
            "reserved_bytes",
            "slots",
            "state",
        ]
        assert (spoke["name"], spoke["state"]) == ("den", "lost")
        assert spoke["inventory"]["memory"] == {"total_bytes": 32 << 30, "available_bytes": 8 << 30}
        assert spoke["inventory"]["models"][0]["name"] == "tiny"

    def test_who_may_not_see_it_is_told_so(self, run, mesh, state_dir):
        hub = FakeHub(mesh.hub, refuses=PermissionDenied("this identity may not do that"))
        with serve_mesh(hub) as address:
            ran = run("status", "--state-dir", state_dir, "--hub", address)
        assert ran.exit_code == Exit.IDENTITY
        assert "may not" in ran.stderr


class TestTokenCreate:
    def test_the_token_alone_is_on_standard_output(self, run, mesh, state_dir):
        with serve_mesh(FakeHub(mesh.hub)) as address:
            ran = run("token", "create", "den", "--role", "spoke", "--state-dir", state_dir, "--hub", address)
        assert JoinToken.parse(ran.stdout).text == ran.stdout.strip()
        assert "spoke-agent join" in ran.stderr

    def test_json_has_the_token_and_its_end(self, run, mesh, state_dir):
        arguments = ("den", "--role", "app", "--ttl", "1h", "--json", "--state-dir", state_dir)
        with serve_mesh(FakeHub(mesh.hub)) as address:
            made = json.loads(run("token", "create", *arguments, "--hub", address).stdout)
        assert sorted(made) == ["expires_at", "name", "role", "token"]
        assert (made["name"], made["role"]) == ("den", "app")

    @pytest.mark.parametrize("ttl", ["", "0m", "10", "1d", "-5m", "99999999h"])
    def test_a_life_that_is_none_is_wrong_usage(self, run, ttl):
        ran = run("token", "create", "den", "--role", "spoke", "--ttl", ttl)
        assert ran.exit_code == Exit.USAGE


class TestJoin:
    def token(self, mesh: MeshOnDisk, address: str) -> str:
        return JoinToken.mint(mesh.hub.authorities.load_certificate(ROOT), [Address(address)]).text

    def test_a_token_from_a_pipe_becomes_an_identity(self, run, mesh, tmp_path: Path):
        with serve_enrol(FakeHub(mesh.hub)) as address:
            ran = run("join", stdin=self.token(mesh, address) + "\n")
        assert ran.exit_code == Exit.DONE
        assert "Joined as app 'laptop'" in ran.stdout
        assert NodeFiles(tmp_path / "state" / "client").load_identity().identity.name == "laptop"

    def test_a_token_from_a_file_becomes_an_identity(self, run, mesh, tmp_path: Path):
        with serve_enrol(FakeHub(mesh.hub)) as address:
            (tmp_path / "token").write_text(self.token(mesh, address))
            joined = json.loads(run("join", "--token-file", str(tmp_path / "token"), "--json").stdout)
        assert sorted(joined) == ["directory", "expires_at", "name", "role", "serial"]
        assert (joined["role"], joined["name"]) == ("app", "laptop")

    def test_a_second_join_keeps_the_identity_unless_told_otherwise(self, run, mesh):
        with serve_enrol(FakeHub(mesh.hub)) as address:
            token = self.token(mesh, address)
            run("join", stdin=token)
            kept, replaced = run("join", stdin=token), run("join", "--replace", stdin=token)
        assert (kept.exit_code, replaced.exit_code) == (Exit.IDENTITY, Exit.DONE)

    def test_what_is_no_token_is_refused(self, run):
        ran = run("join", stdin="hello")
        assert ran.exit_code == Exit.IDENTITY
        assert "not a join token" in ran.stderr

    def test_a_token_file_that_is_not_there_is_named(self, run):
        ran = run("join", "--token-file", "/nowhere/token")
        assert ran.exit_code == Exit.FAILED
        assert "/nowhere/token" in ran.stderr


class TestIdentity:
    @pytest.mark.parametrize("command", [("models",), ("status",), ("ask", "tiny", "x")])
    def test_without_one_every_command_says_how_to_get_it(self, run, command):
        ran = run(*command)
        assert ran.exit_code == Exit.IDENTITY
        assert "join with a token" in ran.stderr

    def test_an_address_that_is_none_is_wrong_usage(self, run):
        assert run("models", "--hub", "den").exit_code == Exit.USAGE


def test_the_version_says_what_is_installed(run):
    facts = json.loads(run("version", "--json").stdout)
    assert sorted(facts) == ["grpcio", "hubspoke", "platform", "python"]
    assert facts["hubspoke"] in run("version").stdout
