from hub.core.delegation import gate, plans
from hub.core.delegation.accepts import REVIEWS_MIN, Accepts, Kind, reviewed
from hub.core.delegation.approach import alone, by_rule, described, excerpts, routed
from hub.core.delegation.fleet import Candidate
from hub.core.delegation.plain_prompts import PLAIN
from hubspoke.types import Excerpt, Input, Merge, Mode, ModelKey, Plan, Subtask, SubtaskId
from tests.unit.hub_core.machines import NOW, a_model
from tests.unit.hub_core_delegation.workshop import ANY_JSON, MIDDLE, NOBODY, SMALL, THREE, a_goal, a_text

B = 10**9
BIG = a_model("large", parameters=70 * B)
MINI, MID = (
    Candidate(ModelKey("k-mini"), a_model("mini", parameters=B), 2_048),
    Candidate(ModelKey("k-mid"), a_model("mid", parameters=8 * B), 8_192),
)
REPORT = a_text(30_000)


def planned(goal, *inputs, fleet=THREE, wanted=Mode.AUTO):
    job = gate.job_of(goal, inputs, PLAIN)
    return by_rule(gate.choose(job, fleet, wanted), job, goal, inputs, fleet)


def a_plan(**given) -> Plan:
    return Plan((Subtask(SubtaskId("a"), "do it", **given),))


def model_of(plan: Plan, accepts=None, inputs=()) -> str:
    return routed(plan, [MINI, MID], BIG, accepts or Accepts(), NOW, inputs=inputs).subtasks[0].model


def failed(*kinds: Kind) -> Accepts:
    accepts = Accepts()
    for kind in kinds * REVIEWS_MIN:
        accepts = reviewed(accepts, kind, accepted=False, now=NOW)
    return accepts


def test_a_long_text_is_cut_and_shared_out():
    plan = planned(a_goal("List all names."), REPORT)
    plans.check(plan, ["report"])
    assert {subtask.model for subtask in plan.subtasks} == {MIDDLE.model, SMALL.model}
    assert plan.subtasks[0].reads[0].begin == 0
    assert plan.subtasks[-1].reads[0].end == len(REPORT.text)
    assert plan.merge is Merge.CONCAT


def test_a_list_of_goals_becomes_subtasks():
    goal = a_goal("\n".join(f"- Describe city {n}" for n in range(8)))
    plan = planned(goal)
    assert [subtask.instruction for subtask in plan.subtasks] == [f"Describe city {n}" for n in range(8)]
    assert {subtask.model for subtask in plan.subtasks} == {MIDDLE.model}


def test_a_short_question_stays_whole():
    goal = a_goal(format=ANY_JSON)
    assert planned(goal) == alone(goal, ()) == Plan((Subtask(SubtaskId("goal"), goal.text, format=ANY_JSON),))


def test_what_a_planner_has_to_do_is_left_to_it():
    assert planned(a_goal(), wanted=Mode.DAG) is None


def test_pieces_that_nobody_helps_with_are_read_by_the_orchestrator():
    plan = planned(a_goal(), REPORT, fleet=NOBODY, wanted=Mode.MAP)
    assert len(plan.subtasks) > 1
    assert {subtask.model for subtask in plan.subtasks} == {""}


def test_nothing_to_cut_is_done_at_once():
    assert planned(a_goal(), wanted=Mode.MAP) == alone(a_goal(), ())


def test_excerpts_are_counted_in_bytes():
    assert excerpts(Input("a", "ää öö"), 5) == (Excerpt("a", 0, 5), Excerpt("a", 5, 9))


def test_the_smallest_model_that_is_able_does_it():
    assert model_of(a_plan(task="extract")) == MINI.key
    assert model_of(a_plan(task="reason")) == MID.key
    assert model_of(a_plan()) == MID.key


def test_the_model_that_a_planner_names_does_it_if_it_is_able():
    assert model_of(a_plan(task="extract", model="mid")) == MID.key
    assert model_of(a_plan(task="reason", model="mini")) == MID.key


def test_who_fails_is_passed_over_for_the_next_larger():
    small = Kind(MINI.key, "extract")
    assert model_of(a_plan(task="extract"), failed(small)) == MID.key
    assert model_of(a_plan(task="extract", model="mini"), failed(small)) == MID.key
    assert model_of(a_plan(task="extract"), failed(small, Kind(MID.key, "extract"))) == ""


def test_who_has_no_room_for_the_text_is_passed_over():
    def reader(tokens: int) -> str:
        return model_of(a_plan(task="extract", reads=(Excerpt("report"),)), inputs=[a_text(tokens)])

    assert [reader(1_000), reader(2_000), reader(8_000)] == [MINI.key, MID.key, ""]
    assert model_of(a_plan(task="extract", reads=(Excerpt("report", 0, 400),)), inputs=[REPORT]) == MINI.key


def test_a_planner_is_told_what_models_are_good_for():
    small, middle = described([MINI, MID], BIG)
    assert small.model == "mini"
    assert "extract" in small.good_for
    assert "any step" in middle.good_for
