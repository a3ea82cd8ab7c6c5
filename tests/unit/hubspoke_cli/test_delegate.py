"""`hubspoke delegate` and `hubspoke delegations`, at a pipe and in JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hubspoke.cli.delegating.view import View, line_of
from hubspoke.errors import NoOrchestrator
from hubspoke.types import (
    DelegationEvent,
    DelegationState,
    Mode,
    Planned,
    Problem,
    Progress,
    Reviewed,
    Spent,
    StateChanged,
    SubtaskId,
    SubtaskState,
    SubtaskStatus,
    Verdict,
    VerdictKind,
)
from hubspoke.wire import delegations
from tests.fakes.delegations import ID, NOW, STORY, FakeDelegations, info
from tests.fakes.hub import FakeHub, serve_mesh

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from hubspoke.types import Happening
    from tests.fakes.hub import MeshOnDisk
    from tests.unit.hubspoke_cli.conftest import Run

ONE, TWO = SubtaskId("one"), SubtaskId("two")


class Desk:
    """Runs the command against a hub with delegations."""

    def __init__(self, run: Run, mesh: MeshOnDisk, state_dir: str) -> None:
        self.service = FakeDelegations()
        self._run, self._mesh, self._state_dir = run, mesh, state_dir

    def __call__(self, *arguments: str, stdin: str | None = None) -> Result:
        with serve_mesh(FakeHub(self._mesh.hub), self.service.add_to) as address:
            return self._run(*arguments, "--state-dir", self._state_dir, "--hub", address, stdin=stdin)


@pytest.fixture
def desk(run: Run, mesh: MeshOnDisk, state_dir: str) -> Desk:
    return Desk(run, mesh, state_dir)


class TestDelegate:
    def test_it_says_the_id_and_how_to_watch(self, desk: Desk):
        ran = desk("delegate", "Read it")
        assert (ran.exit_code, ran.stdout) == (0, f"{ID}\n")
        assert f"hubspoke delegations show {ID} --watch" in ran.stderr

    def test_watching_writes_what_happens_beside_the_result(self, desk: Desk):
        ran = desk("delegate", "Read it", "--watch")
        assert (ran.exit_code, ran.stdout) == (0, "all of it\n")
        assert "plan: dag, 1 subtasks. two parts, three spokes" in ran.stderr
        assert "✓ one done Read the first half den (tiny) 12 tokens" in ran.stderr

    def test_json_is_one_event_a_line(self, desk: Desk):
        ran = desk("delegate", "Read it", "--watch", "--json")
        lines = [json.loads(line) for line in ran.stdout.splitlines()]
        kinds = ["accepted", "state", "planned", "state", "subtask", "subtask", "state"]
        assert [line["event"] for line in lines] == kinds
        assert lines[-1]["result"] == "all of it"

    def test_texts_of_a_folder_are_inputs_by_their_names(self, desk: Desk, tmp_path: Path):
        folder = tmp_path / "texts"
        folder.mkdir()
        for name, text in (("b.txt", "second"), ("a.txt", "first"), (".hidden", "no")):
            (folder / name).write_text(text)
        ran = desk(
            "delegate", "Read it", "--input", str(folder), "--label", "team=red", "--priority", "interactive"
        )
        assert ran.exit_code == 0
        work = delegations.work_from_wire(desk.service.asked[0])
        assert [(each.name, each.text) for each in work.inputs] == [("a.txt", "first"), ("b.txt", "second")]
        assert (dict(work.labels), work.priority) == ({"team": "red"}, "interactive")

    def test_a_plan_is_read_from_json(self, desk: Desk, tmp_path: Path):
        plan = tmp_path / "plan.json"
        plan.write_text(
            '{"subtasks": [{"id": "a", "instruction": "Say hello", "model": "tiny"}], "merge": "MERGE_CONCAT"}'
        )
        assert desk("delegate", "--plan", str(plan)).exit_code == 0
        work = delegations.work_from_wire(desk.service.asked[0])
        assert [step.id for step in work.task.subtasks] == ["a"]

    @pytest.mark.parametrize(
        ("plan", "words"),
        [("{", "is no plan"), ('{"subtasks": [{"id": "a"}]}', "instruction")],
    )
    def test_a_plan_that_is_none_is_refused_in_words(self, desk: Desk, tmp_path: Path, plan: str, words: str):
        path = tmp_path / "plan.json"
        path.write_text(plan)
        ran = desk("delegate", "--plan", str(path))
        assert ran.exit_code == 1
        assert words in ran.stderr

    @pytest.mark.parametrize("arguments", [[], ["goal", "--label", "x"], ["goal", "--deadline", "soon"]])
    def test_wrong_usage_is_told(self, desk: Desk, arguments: list[str]):
        assert desk("delegate", *arguments).exit_code == 2

    def test_what_is_no_text_is_refused_before_anything_is_sent(self, desk: Desk, tmp_path: Path):
        path = tmp_path / "image.png"
        path.write_bytes(b"\x89PNG\xff")
        assert desk("delegate", "Read it", "--input", str(path)).exit_code == 2
        assert desk.service.asked == []

    def test_a_mesh_that_cannot_plan_says_so(self, desk: Desk):
        desk.service.refuses = NoOrchestrator("no spoke has a model that may plan; set roles.orchestrator")
        ran = desk("delegate", "Read it")
        assert (ran.exit_code, "set roles.orchestrator" in ran.stderr) == (5, True)

    def test_a_failure_ends_the_command_with_its_reason(self, desk: Desk):
        desk.service.story = (
            StateChanged(DelegationState.FAILED, problem=Problem("budget_spent", "no tokens left")),
        )
        ran = desk("delegate", "Read it", "--watch")
        assert (ran.exit_code, ran.stdout) == (1, "")
        assert "No tokens left." in ran.stderr

    def test_what_is_parked_says_what_decides(self, desk: Desk):
        desk.service.story = (
            StateChanged(DelegationState.PARKED, problem=Problem("poisonous", "two spokes died of it")),
        )
        ran = desk("delegate", "Read it", "--watch")
        assert ran.exit_code == 1
        assert f"hubspoke delegations resolve {ID}" in ran.stderr

    def test_a_result_that_lacks_something_is_written_and_told(self, desk: Desk):
        problem = Problem("not_acceptable", "one part is missing")
        desk.service.story = (StateChanged(DelegationState.PARTIAL, "most of it", problem),)
        ran = desk("delegate", "Read it", "--watch", "--partial")
        assert (ran.exit_code, ran.stdout) == (0, "most of it\n")
        assert "one part is missing" in ran.stderr


class TestDelegations:
    def test_a_list_has_a_line_for_each(self, desk: Desk):
        desk.service.kept = [info(DelegationState.RUNNING, title="Count\nthem"), info(DelegationState.FAILED)]
        ran = desk("delegations", "list")
        assert ran.exit_code == 0
        assert "Count them" in ran.stdout
        listed = json.loads(desk("delegations", "list", "--json", "--limit", "1").stdout)["delegations"]
        assert [one["state"] for one in listed] == ["running"]

    def test_nothing_handed_over_says_how_to(self, desk: Desk):
        desk.service.kept = []
        # The double gives no page for nothing.
        assert "hands something over" in desk("delegations", "list").stdout

    def test_show_draws_the_subtasks_and_writes_the_result(self, desk: Desk):
        status = SubtaskStatus(
            ONE, SubtaskState.ACCEPTED, "Read", spoke="den", model="tiny", spent=Spent(0, 9)
        )
        desk.service.kept = [info(DelegationState.SUCCEEDED, subtasks=(status,), result="all of it")]
        ran = desk("delegations", "show", ID)
        assert "✓ one Read den (tiny) 9 tokens" in ran.stdout
        assert ran.stdout.endswith("all of it\n")
        assert json.loads(desk("delegations", "show", ID, "--json").stdout)["result"] == "all of it"

    def test_an_output_can_be_supplied(self, desk: Desk):
        ran = desk("delegations", "resolve", ID, "supply", "--subtask", "one", "--output", "-", stdin="mine")
        assert ran.exit_code == 0
        assert desk.service.asked[0].output == "mine"

    @pytest.mark.parametrize("arguments", [["supply"], ["retry", "--output", "-"], ["dance"]])
    def test_a_decision_that_is_none_is_told(self, desk: Desk, arguments: list[str]):
        assert desk("delegations", "resolve", ID, *arguments).exit_code == 2

    def test_cancel_and_delete_say_what_became_of_it(self, desk: Desk):
        assert desk("delegations", "cancel", ID).stdout == f"{ID} is succeeded.\n"
        assert desk("delegations", "delete", ID).stdout == f"{ID} is forgotten.\n"

    def test_an_unknown_one_is_told(self, desk: Desk):
        ran = desk("delegations", "show", "d-2")
        assert (ran.exit_code, "No delegation of that id" in ran.stderr) == (1, True)


class TestView:
    def test_it_says_who_works_on_what(self):
        rows = dict(view_of(*STORY[:4], Progress(ONE, "den", 7)).rows())
        assert rows[SubtaskState.RUNNING].endswith("den (tiny)  7 tokens so far")

    def test_it_counts_what_is_over(self):
        assert view_of(*STORY[:5]).headline == "running, 1 of 1 subtasks"
        assert view_of(*STORY).headline == "succeeded, 1 of 1 subtasks, orchestrator 30 + workers 12 tokens"

    def test_it_says_what_a_subtask_waits_for(self):
        planned = Planned(Mode.DAG, (SubtaskStatus(TWO, SubtaskState.WAITING, "Sum", depends_on=(ONE,)),))
        assert [row for _, row in view_of(planned).rows()] == ["· two  Sum  waits for one"]

    def test_it_says_what_the_orchestrator_does(self):
        view = view_of(StateChanged(DelegationState.PLANNING), Progress(None, "base", 40))
        assert view.headline == "planning, base plans, 40 tokens so far"
        assert view_of(StateChanged(DelegationState.RUNNING), Reviewed(1)).headline == "running, review 1"

    def test_a_review_is_a_line_with_its_reasons(self):
        verdicts = (Verdict(ONE, VerdictKind.ACCEPT), Verdict(TWO, VerdictKind.REPAIR, "no sum"))
        event = DelegationEvent(3, NOW, Reviewed(1, verdicts))
        assert line_of(event) == "review 1: one accepted, two repair (no sum)"


def view_of(*happenings: Happening) -> View:
    view = View()
    for seq, happening in enumerate(happenings, start=1):
        view = view.after(DelegationEvent(seq, NOW, happening))
    return view
