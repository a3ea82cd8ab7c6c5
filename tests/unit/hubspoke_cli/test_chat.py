"""`hubspoke chat` from a pipe: every line a turn, every failure a sentence and a code."""

import json
import signal
import subprocess
import sys

import pytest

from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.cli.failures import Exit
from hubspoke.errors import ContextTooLong, DoesNotFit, UnknownModel
from tests.fakes.hub import WAIT_S, FakeHub, MeshOnDisk, answer, hang, serve_mesh

PNG = b"\x89PNG\r\n\x1a\n and more"
HUBSPOKE = (sys.executable, "-c", "from hubspoke.cli import main; main()")


def a_model(name: str, *, loaded: bool = False, chats: bool = True) -> pb.ModelSummary:
    model = pb.ModelSummary(key=f"sha256:{name}", names=[name], capabilities=[1 if chats else 3])
    model.replicas.add(spoke="den", state=3 if loaded else 1, slots=1 if loaded else 0)
    return model


def parrot(request: pb.InferRequest, _hub: FakeHub):
    """Say what was said last, and how many turns there were."""
    turns = request.conversation.messages
    yield from answer(f"{len(turns)}: ", turns[-1].text)


def fails_on_bad(error):
    def script(request: pb.InferRequest, hub: FakeHub):
        if request.conversation.messages[-1].text == "bad":
            raise error
        yield from parrot(request, hub)

    return script


def test_every_line_is_a_turn_of_one_conversation(mesh, run_at):
    hub = FakeHub(mesh.hub, parrot)
    ran = run_at(hub, "chat", "tiny", "--system", "Be brief", stdin="one\n\ntwo\n")
    assert (ran.exit_code, ran.stdout) == (Exit.DONE, "2: one\n4: two\n")
    assert [turn.text for turn in hub.asked[1].conversation.messages] == ["Be brief", "one", "2: one", "two"]
    assert hub.asked[0].session_key == hub.asked[1].session_key != ""


def test_quotes_hold_several_lines(mesh, run_at):
    hub = FakeHub(mesh.hub, parrot)
    run_at(hub, "chat", "tiny", stdin='"""one\n  two\n"""\n"""three"""\n"""never\nended')
    texts = [asked.conversation.messages[-1].text for asked in hub.asked]
    assert texts == ["one\n  two", "three", "never\nended"]


def test_options_hold_for_every_turn(mesh, run_at):
    hub = FakeHub(mesh.hub)
    run_at(hub, "chat", "tiny", "--think", "low", "--temperature", "0", "--seed", "7", stdin="one\ntwo\n")
    for asked in hub.asked:
        assert (asked.thinking, asked.sampling.temperature, asked.sampling.seed) == (pb.EFFORT_LOW, 0.0, 7)


@pytest.mark.parametrize(
    ("error", "code"), [(UnknownModel("no spoke has it"), Exit.FAILED), (DoesNotFit("7.9 GiB"), Exit.FULL)]
)
def test_a_turn_that_fails_is_taken_back_and_the_rest_goes_on(mesh, run_at, error, code):
    hub = FakeHub(mesh.hub, fails_on_bad(error))
    ran = run_at(hub, "chat", "tiny", stdin="bad\none\n/bogus\n")
    assert (ran.exit_code, ran.stdout) == (code, "1: one\n")
    assert error.message.lower() in ran.stderr.lower()
    assert "there is no /bogus" in ran.stderr.lower()


def test_a_conversation_that_is_too_long_is_told_what_to_do(mesh, run_at):
    hub = FakeHub(mesh.hub, fails_on_bad(ContextTooLong("4,100 tokens, and 4,096 fit")))
    ran = run_at(hub, "chat", "tiny", stdin="bad\n")
    assert ran.stderr == "Error: 4,100 tokens, and 4,096 fit. /clear forgets what was said.\n"


def test_a_command_that_makes_no_sense_is_wrong_usage(mesh, run_at):
    for line in (
        "/bogus",
        "/save",
        "/image /nowhere/x",
        "/think deeply",
        "/model bogus",
        "/load /nowhere/at/all",
        "/save /nowhere/x",
    ):
        ran = run_at(FakeHub(mesh.hub), "chat", "tiny", stdin=f"{line}\n")
        assert ran.exit_code in {Exit.USAGE, Exit.FAILED}
        assert ran.stderr.startswith("Error: ")
        assert len(ran.stderr.splitlines()) == 1


class TestCommands:
    def test_the_rules_the_effort_and_the_model_can_be_changed(self, mesh, run_at):
        hub = FakeHub(mesh.hub, models=[a_model("tiny"), a_model("nano")])
        lines = ("/system Be brief", "/think high", "/model nano", "one", "/system", "/think", "two")
        run_at(hub, "chat", "tiny", stdin="\n".join(lines))
        first, second = hub.asked
        assert (first.model, first.thinking) == ("nano", pb.EFFORT_HIGH)
        assert [turn.text for turn in first.conversation.messages] == ["Be brief", "one"]
        assert second.thinking == pb.EFFORT_UNSPECIFIED
        assert second.conversation.messages[0].text == "one"

    def test_without_a_name_the_models_are_listed(self, mesh, run_at):
        models = [a_model("tiny"), a_model("nano", loaded=True), a_model("bge", chats=False)]
        ran = run_at(FakeHub(mesh.hub, models=models), "chat", "tiny", stdin="/model\n")
        assert ran.stderr.splitlines() == ["* tiny", "- nano, in memory"]

    def test_what_is_forgotten_is_not_said_again(self, mesh, run_at):
        hub = FakeHub(mesh.hub, parrot)
        assert run_at(hub, "chat", "tiny", stdin="one\n/clear\ntwo\n").stdout == "1: one\n1: two\n"

    def test_a_picture_goes_with_the_next_turn_alone(self, mesh, run_at, tmp_path):
        (tmp_path / "a.png").write_bytes(PNG)
        hub = FakeHub(mesh.hub)
        run_at(hub, "chat", "tiny", stdin=f"/image {tmp_path / 'a.png'}\none\ntwo\n")
        first, second = (asked.conversation.messages[-1].images for asked in hub.asked)
        assert ([image.data for image in first], list(second)) == ([PNG], [])

    def test_a_picture_can_be_taken_back(self, mesh, run_at, tmp_path):
        (tmp_path / "a.png").write_bytes(PNG)
        hub = FakeHub(mesh.hub)
        run_at(hub, "chat", "tiny", stdin=f"/image {tmp_path / 'a.png'}\n/image\none\n")
        assert list(hub.asked[0].conversation.messages[-1].images) == []

    def test_a_conversation_can_be_kept_and_gone_on_with(self, mesh, run_at, tmp_path):
        kept = tmp_path / "kept.json"
        (tmp_path / "a.png").write_bytes(PNG)
        run_at(
            FakeHub(mesh.hub, parrot),
            *("chat", "tiny", "--system", "Be brief", "--think", "low"),
            stdin=f"/image {tmp_path / 'a.png'}\none\n/save {kept}\n",
        )
        hub = FakeHub(mesh.hub, parrot)
        ran = run_at(hub, "chat", "nano", stdin=f"/load {kept}\ntwo\n")
        assert ran.stdout == "4: two\n"
        (asked,) = hub.asked
        assert (asked.model, asked.thinking) == ("tiny", pb.EFFORT_LOW)
        assert asked.conversation.messages[1].images[0].data == PNG
        assert kept.stat().st_mode & 0o777 == 0o600
        assert json.loads(kept.read_text())["system"] == "Be brief"

    @pytest.mark.parametrize(
        "content", ["", "{}", '{"model": "tiny", "turns": [{"speaker": "nobody"}]}', "\udcff"]
    )
    def test_what_is_no_conversation_is_refused(self, mesh, run_at, tmp_path, content):
        (tmp_path / "kept.json").write_text(content, errors="surrogateescape")
        ran = run_at(FakeHub(mesh.hub), "chat", "tiny", stdin=f"/load {tmp_path / 'kept.json'}\n")
        assert ran.exit_code == Exit.USAGE
        assert "holds no conversation" in ran.stderr

    def test_the_statistics_count_what_was_answered(self, mesh, run_at):
        ran = run_at(FakeHub(mesh.hub), "chat", "tiny", stdin="one\ntwo\n/stats\n")
        assert "4 turns, 2 answers: 6 tokens read, 4 made\ntiny on den was last" in ran.stderr

    def test_bye_ends_before_the_last_line(self, mesh, run_at):
        hub = FakeHub(mesh.hub)
        assert run_at(hub, "chat", "tiny", stdin="/bye\none\n").exit_code == Exit.DONE
        assert hub.asked == []

    def test_help_lists_every_command(self, mesh, run_at):
        told = run_at(FakeHub(mesh.hub), "chat", "tiny", stdin="/help\n").stderr
        for command in ("/model [NAME]", "/image [FILE]", "/save FILE", "/bye", '"""', "Ctrl-C"):
            assert command in told


class TestChoice:
    @pytest.mark.parametrize(
        "models",
        [
            [a_model("nano"), a_model("tiny", loaded=True)],
            [a_model("tiny"), a_model("bge", loaded=True, chats=False)],
        ],
    )
    def test_the_one_in_memory_or_the_only_one_is_taken(self, mesh, run_at, models):
        hub = FakeHub(mesh.hub, models=models)
        run_at(hub, "chat", stdin="one\n")
        assert hub.asked[0].model == "tiny"

    @pytest.mark.parametrize(
        ("models", "told"), [((), "no model"), (("tiny", "nano"), "there is tiny, nano")]
    )
    def test_a_pipe_cannot_choose(self, mesh, run_at, models, told):
        hub = FakeHub(mesh.hub, models=[a_model(name) for name in models])
        ran = run_at(hub, "chat", stdin="one\n")
        assert ran.exit_code == Exit.USAGE
        assert told in ran.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to one process")
def test_ctrl_c_ends_a_pipe_and_stops_the_work(mesh: MeshOnDisk, state_dir: str):
    hub = FakeHub(mesh.hub, hang)
    with serve_mesh(hub) as address:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        arguments = ("chat", "tiny", "--state-dir", state_dir, "--hub", address)
        with subprocess.Popen([*HUBSPOKE, *arguments], text=True, **pipes) as chatting:
            chatting.stdin.write("one\n")
            chatting.stdin.flush()
            assert chatting.stdout.read(len("Once upon")) == "Once upon"
            chatting.send_signal(signal.SIGINT)
            _, errors = chatting.communicate(timeout=WAIT_S)
        assert hub.cancelled.wait(WAIT_S)
    assert (chatting.returncode, errors.strip()) == (Exit.INTERRUPTED, "")
