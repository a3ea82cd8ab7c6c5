"""Commands at a real pseudo-terminal, where lines are written again in their place and Ctrl-C is a key."""

import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("Windows has no pseudo-terminals of this kind", allow_module_level=True)

from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.api.models.v1 import models_pb2
from hubspoke.cli.chat.lines import HISTORY_FILE
from hubspoke.cli.failures import Exit
from tests.fakes.hub import WAIT_S, FakeHub, MeshOnDisk, answer, make_mesh, serve_mesh
from tests.fakes.terminal import CTRL_C, CTRL_D, UP, at_terminal, hubspoke_at
from tests.unit.hubspoke_cli.test_chat import a_model, parrot


@contextmanager
def at(hub: FakeHub, mesh: MeshOnDisk, *arguments: str):
    """Run a command at a terminal while *hub* is served."""
    with (
        serve_mesh(hub) as address,
        hubspoke_at(
            *arguments, "--state-dir", str(mesh.admin.directory.parent), "--hub", address
        ) as terminal,
    ):
        yield terminal


def hangs_on_wait(request: pb.InferRequest, hub: FakeHub):
    """Answer, but to `wait` say half a sentence and no more."""
    if request.conversation.messages[-1].text == "wait":
        yield pb.InferResponse(delta=pb.Delta(text="Once upon"))
        hub.cancelled.wait(WAIT_S)
    else:
        yield from parrot(request, hub)


def loads_first(_request, _hub):
    for second in (3, 4):
        waiting = pb.Waiting(cause=pb.Waiting.CAUSE_LOADING, spoke="den")
        waiting.elapsed.FromSeconds(second)
        waiting.expected.FromSeconds(9)
        yield pb.InferResponse(waiting=waiting)
    yield from answer("Hi")


class TestChat:
    def test_turns_and_commands_go_to_and_fro(self, mesh):
        with at(FakeHub(mesh.hub, parrot), mesh, "chat", "tiny") as terminal:
            terminal.until("tiny> ")
            terminal.enter("one **two**")
            assert "1: one two" in terminal.until("tiny> ")
            terminal.enter("/system Be brief")
            assert "These are the rules now." in terminal.until("tiny> ")
            terminal.type(CTRL_D)
            assert terminal.end() == Exit.DONE

    def test_ctrl_c_stops_the_answer_and_keeps_what_was_said(self, mesh):
        hub = FakeHub(mesh.hub, hangs_on_wait)
        with at(hub, mesh, "chat", "tiny") as terminal:
            terminal.until("tiny> ")
            terminal.enter("wait")
            terminal.until("Once upon")
            terminal.insist(CTRL_C, "tiny> ")
            assert hub.cancelled.wait(WAIT_S)
            terminal.enter("go on")
            assert "3: go on" in terminal.until("tiny> ")
            terminal.enter("/bye")
            assert terminal.end() == Exit.DONE
        assert [turn.text for turn in hub.asked[-1].conversation.messages] == ["wait", "Once upon", "go on"]

    def test_ctrl_c_at_the_prompt_forgets_the_line(self, mesh):
        hub = FakeHub(mesh.hub, parrot)
        with at(hub, mesh, "chat", "tiny") as terminal:
            terminal.until("tiny> ")
            terminal.type("not this")
            terminal.until("not this")
            terminal.insist(CTRL_C, "tiny> ")
            terminal.enter("but this")
            terminal.until("1: but this")

    def test_several_lines_stand_between_quotes(self, mesh):
        hub = FakeHub(mesh.hub, parrot)
        with at(hub, mesh, "chat", "tiny") as terminal:
            terminal.until("tiny> ")
            terminal.enter('"""one')
            terminal.until("... ")
            terminal.enter('two"""')
            terminal.until("tiny> ")
        assert hub.asked[0].conversation.messages[-1].text == "one\ntwo"

    def test_of_two_models_of_one_name_the_one_that_was_chosen_is_asked(self, mesh):
        twins = [a_model("tiny"), a_model("tiny")]
        twins[1].key = "sha256:the-other"
        hub = FakeHub(mesh.hub, parrot, models=twins)
        with at(hub, mesh, "chat") as terminal:
            assert "2. sha256:the-other (tiny, " in terminal.until("Which one? ")
            terminal.enter("2")
            terminal.until("> ")
            terminal.enter("one")
            terminal.until("1: one")
        assert hub.asked[0].model == "sha256:the-other"

    def test_ctrl_d_at_the_choice_ends(self, mesh):
        hub = FakeHub(mesh.hub, parrot, models=[a_model("tiny"), a_model("nano")])
        with at(hub, mesh, "chat") as terminal:
            terminal.until("Which one? ")
            terminal.type(CTRL_D)
            assert terminal.end() == Exit.DONE

    def test_without_a_model_there_is_a_choice(self, mesh):
        hub = FakeHub(mesh.hub, parrot, models=[a_model("tiny"), a_model("nano")])
        with at(hub, mesh, "chat") as terminal:
            assert "2. nano" in terminal.until("Which one? ")
            terminal.enter("7")
            terminal.until("Which one? ")
            terminal.enter("2")
            terminal.until("nano> ")

    def test_the_next_session_knows_what_was_typed(self, tmp_path):
        mesh = make_mesh(tmp_path)
        for keys in ("hello there\r", f"{UP}{UP}\r"):
            with at(FakeHub(mesh.hub, parrot), mesh, "chat", "tiny") as terminal:
                terminal.until("tiny> ")
                terminal.type(keys)
                terminal.until("1: hello there")
                terminal.until("tiny> ")
                terminal.enter("/bye")
                assert terminal.end() == Exit.DONE
        assert (mesh.admin.directory / HISTORY_FILE).stat().st_mode & 0o777 == 0o600

    def test_a_hub_that_goes_away_and_comes_back_is_found_again(self, mesh):
        with ExitStack() as first, serve_mesh(FakeHub(mesh.hub, parrot)) as later:
            address = first.enter_context(serve_mesh(FakeHub(mesh.hub, parrot)))
            state = str(mesh.admin.directory.parent)
            hubs = ("--hub", address, "--hub", later)
            with hubspoke_at("chat", "tiny", "--state-dir", state, *hubs) as terminal:
                terminal.until("tiny> ")
                first.close()
                terminal.enter("still there?")
                assert "1: still there?" in terminal.until("tiny> ")

    def test_an_error_is_a_sentence_and_the_conversation_goes_on(self, mesh):
        with ExitStack() as serving:
            address = serving.enter_context(serve_mesh(FakeHub(mesh.hub, parrot)))
            state = str(mesh.admin.directory.parent)
            with hubspoke_at("chat", "tiny", "--state-dir", state, "--hub", address) as terminal:
                terminal.until("tiny> ")
                serving.close()
                terminal.enter("still there?")
                assert "Error: No hub at" in terminal.until("tiny> ")


def test_bash_completes_names_with_colons(tmp_path):
    mesh = make_mesh(tmp_path)
    models = [pb.ModelSummary(key=name, names=[name]) for name in ("llama3.2:1b", "llama3.2:3b")]
    environ = {"PS1": "> ", "HUBSPOKE_STATE_DIR": str(tmp_path), "HOME": str(tmp_path)}
    bin_ = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    with serve_mesh(FakeHub(mesh.hub, models=models)) as address:
        bash = at_terminal("bash", "--norc", "-i", **environ, HUBSPOKE_HUBS=address, PATH=bin_)
        with bash as terminal:
            terminal.until("> ")
            terminal.enter("source <(hubspoke completion bash); echo rea''dy")
            terminal.until("ready")
            terminal.type("echo hubspoke; hubspoke ask ll")
            # A hub that is slow to answer is not waited for: then one presses TAB again.
            terminal.insist("\t", "ask llama3.2:")
            terminal.type("3")
            terminal.insist("\t", "3b ")


def test_a_load_is_one_line_that_is_written_again(mesh):
    with at(FakeHub(mesh.hub, loads_first), mesh, "ask", "tiny", "x") as terminal:
        assert terminal.end() == Exit.DONE
    assert (
        "\rden loads tiny: 3 s of about 9 s\x1b[K\rden loads tiny: 4 s of about 9 s\x1b[K\r\x1b[K"
        in terminal.raw
    )


def test_thinking_is_dim(mesh):
    def thinks(_request, _hub):
        begun, ended = answer()
        yield begun
        yield pb.InferResponse(delta=pb.Delta(thinking="Hm"))
        yield pb.InferResponse(delta=pb.Delta(text="Yes"))
        yield ended

    with at(FakeHub(mesh.hub, thinks), mesh, "ask", "tiny", "x") as terminal:
        terminal.end()
    assert "\x1b[2mHm\x1b[0m\r\nYes\r\n" in terminal.raw


def test_a_load_by_hand_that_is_left_goes_on(mesh):
    def hangs(_request, hub: FakeHub):
        yield models_pb2.LoadModelResponse(loading=models_pb2.Loading(spoke="den"))
        hub.cancelled.wait(WAIT_S)

    with at(FakeHub(mesh.hub, loads=hangs), mesh, "load", "tiny") as terminal:
        terminal.until("den loads tiny: 0 s")
        terminal.type(CTRL_C)
        assert terminal.end() == Exit.INTERRUPTED
        terminal.until("The load goes on")


def test_a_pull_has_a_bar_with_bytes_for_each_step(mesh):
    with at(FakeHub(mesh.hub), mesh, "pull", "llama3.2:1b") as terminal:
        assert terminal.end() == Exit.DONE
        terminal.until("den: pulling manifest")
        assert "4.0 MiB of 4.0 MiB" in terminal.until("llama3.2:1b is on den")


def test_a_pull_that_is_stopped_says_that_it_can_go_on(mesh):
    def hangs(_request, hub: FakeHub):
        yield models_pb2.PullModelResponse(pulling=models_pb2.Pulling(spoke="den", step="pulling layer"))
        hub.cancelled.wait(WAIT_S)

    hub = FakeHub(mesh.hub, pulls=hangs)
    with at(hub, mesh, "pull", "llama3.2:1b") as terminal:
        terminal.until("pulling layer")
        terminal.type(CTRL_C)
        assert terminal.end() == Exit.INTERRUPTED
        terminal.until("the same command goes on from it")
        assert hub.cancelled.wait(WAIT_S)


def test_a_terminal_keeps_its_manners(mesh):
    """What ends in the middle leaves the cursor where people can see it."""
    with at(FakeHub(mesh.hub, hangs_on_wait), mesh, "chat", "tiny") as terminal:
        terminal.until("tiny> ")
        terminal.enter("wait")
        terminal.until("Once upon")
        terminal.insist(CTRL_C, "tiny> ")
    assert terminal.raw.count("\x1b[?25l") == terminal.raw.count("\x1b[?25h") > 0


class TestRm:
    def test_it_asks_first_and_no_is_no(self, mesh):
        hub = FakeHub(mesh.hub)
        with at(hub, mesh, "rm", "tiny", "--spoke", "den") as terminal:
            assert "Delete tiny from the disk of den?" in terminal.until("[y/N]: ")
            terminal.enter("n")
            assert terminal.end() == Exit.INTERRUPTED
        assert hub.ordered == []

    def test_yes_deletes(self, mesh):
        with at(FakeHub(mesh.hub), mesh, "rm", "tiny") as terminal:
            assert "every spoke that has it" in terminal.until("[y/N]: ")
            terminal.enter("y")
            assert "tiny is deleted on den" in terminal.until("den")
            assert terminal.end() == Exit.DONE
