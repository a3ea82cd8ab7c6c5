import json
import re

import pytest

from hub.core.delegation import plans
from hub.core.delegation.plans import PLANNED_MAX, SUBTASKS_MAX, check, listed, mapped, planned
from hubspoke.errors import InvalidRequest
from hubspoke.types import Check, Excerpt, Merge, Plan, Subtask, SubtaskId

TWO = [
    {"id": "a", "instruction": "reverse abc"},
    {"id": "b", "instruction": "upper {a}", "depends_on": ["a"]},
]


def read(subtasks=TWO, merge="concat", **more) -> Plan:
    return planned(
        json.dumps({"subtasks": subtasks, "merge": merge} | more), inputs=["report"], models=["mini"]
    )


def one(**fields) -> Subtask:
    return read([{"id": "a", "instruction": "x"} | fields]).subtasks[0]


def subtasks(*ids: str, **given) -> tuple[Subtask, ...]:
    return tuple(Subtask(SubtaskId(name), "do it", **given) for name in ids)


def test_a_plan_is_read():
    assert read() == Plan(
        (
            Subtask(SubtaskId("a"), "reverse abc"),
            Subtask(SubtaskId("b"), "upper {a}", depends_on=(SubtaskId("a"),)),
        )
    )


def test_all_that_can_be_said_of_a_subtask_is_read():
    subtask = one(inputs=["report"], task="extract", model="mini", checks=["quote", "found"], fields=["who"])
    assert subtask.reads == (Excerpt("report"),)
    assert (subtask.task, subtask.model) == ("extract", "mini")
    assert subtask.checks == (Check.QUOTE, Check.FOUND)
    assert json.loads(subtask.format.schema)["required"] == ["who"]


def test_a_model_that_is_not_there_is_passed_over():
    assert one(model="gpt-9").model == ""


def test_a_result_that_is_written_has_an_instruction():
    assert read(merge="model").merge_instruction
    assert not read(merge="sum").merge_instruction


def test_a_reason_to_refuse_can_be_told_to_the_planner():
    with pytest.raises(InvalidRequest, match=re.escape("subtask 'b' uses {a}, but does not depend on it")):
        read([TWO[0], {"id": "b", "instruction": "upper {a}"}])


@pytest.mark.parametrize(
    ("subtasks_", "said"),
    [
        ([], "it has 0 subtasks"),
        ([{"id": str(n), "instruction": "x"} for n in range(PLANNED_MAX + 1)], "it has 13 subtasks"),
        (["a"], "a subtask is no object"),
        ([{"instruction": "x"}], "has no id"),
        ([{"id": "a b", "instruction": "x"}], "has no id"),
        ([{"id": "a", "instruction": " "}], "'a' has no instruction"),
        ([{"id": "a", "instruction": "x" * 65_537}], "longer than 65536 bytes"),
        ([{"id": "a", "instruction": "x", "inputs": ["letter"]}], "reads 'letter'"),
        ([{"id": "a", "instruction": "x", "depends_on": "b"}], "depends_on of subtask 'a' is no list"),
        ([{"id": "a", "instruction": "x", "depends_on": ["b"]}], "'b', which is not in the plan"),
        ([{"id": "a", "instruction": "x", "depends_on": ["a"]}], "a -> a"),
        ([{"id": "a", "instruction": "x", "checks": ["taste"]}], "a check of subtask 'a'"),
        ([{"id": "a", "instruction": "x", "fields": ["\n"]}], "fields"),
        ([TWO[0], TWO[0]], "used twice: 'a'"),
    ],
)
def test_what_makes_no_sense_is_refused(subtasks_, said):
    with pytest.raises(InvalidRequest, match=said):
        read(subtasks_)


@pytest.mark.parametrize(
    "text", ["", "[" * 100_000, "[]", "{}", '{"subtasks": 1}', '{"subtasks": [], "merge": "mix"}']
)
def test_what_is_no_plan_is_refused(text: str):
    with pytest.raises(InvalidRequest):
        planned(text, inputs=(), models=())


def test_an_unknown_merge_is_refused():
    with pytest.raises(InvalidRequest, match="concat, table, sum, model"):
        read(merge="mix")


def test_the_schema_allows_what_is_read_and_nothing_else():
    schema = json.loads(plans.SCHEMA)
    fields = schema["properties"]["subtasks"]["items"]["properties"]
    assert list(fields) == ["id", "instruction", "depends_on", "inputs", "task", "model", "fields", "checks"]
    assert one(depends_on=[], inputs=[], fields=[], checks=[]) == one()


def test_a_plan_that_is_given_may_be_long():
    check(Plan(subtasks(*map(str, range(SUBTASKS_MAX)))), ())
    with pytest.raises(InvalidRequest, match="not 257"):
        check(Plan(subtasks(*map(str, range(SUBTASKS_MAX + 1)))), ())


def test_a_plan_has_something_to_do():
    with pytest.raises(InvalidRequest):
        check(Plan(()), ())


def test_an_input_that_is_not_there_is_not_read():
    with pytest.raises(InvalidRequest, match="reads 'report'"):
        check(Plan(subtasks("a", reads=(Excerpt("report"),))), ())


def test_braces_around_other_words_are_text():
    check(Plan((Subtask(SubtaskId("a"), "write {name} and {}"),)), ())


def test_parts_of_a_goal_all_read_everything():
    plan = listed(["Who?", "Why?"], ["report", "letter"], ["m", "n"], merge=Merge.CONCAT)
    check(plan, ["report", "letter"])
    assert [(s.instruction, s.model, len(s.reads)) for s in plan.subtasks] == [
        ("Who?", "m", 2),
        ("Why?", "n", 2),
    ]


def test_pieces_get_the_same_instruction():
    plan = mapped("Who?", [Excerpt("report", 0, 9), Excerpt("report", 9, 12)], ["m", "n"], merge=Merge.MODEL)
    check(plan, ["report"])
    assert [(s.instruction, s.reads[0].begin, s.task) for s in plan.subtasks] == [
        ("Who?", 0, "extract"),
        ("Who?", 9, "extract"),
    ]
    assert plan.merge_instruction
