"""What is refused before anything is accepted, and in which words."""

from dataclasses import replace

import pytest

from hubspoke.api.delegation.v1 import delegation_pb2 as pb
from hubspoke.errors import InvalidRequest
from hubspoke.types import Excerpt, Goal, Input, Limits, Merge, Plan, Subtask, SubtaskId, Work
from hubspoke.wire import delegations

A, B, C = SubtaskId("a"), SubtaskId("b"), SubtaskId("c")
MIB = 1024 * 1024


def refusal(work: Work) -> str:
    """Give why *work* is refused at the door."""
    with pytest.raises(InvalidRequest) as caught:
        delegations.work_from_wire(delegations.work_to_wire(work))
    return caught.value.message


def planned(*subtasks: Subtask, **more: object) -> Work:
    return replace(Work("1", Plan(subtasks)), **more)


@pytest.mark.parametrize(
    ("work", "why"),
    [
        (planned(), "plan.subtasks has 0 entries; give 1 to 256"),
        (planned(Subtask(A, "x", (A,))), "plan: subtasks wait for each other in a circle: a -> a"),
        (planned(Subtask(A, "x", (B,))), "subtask a: depends_on has 'b', which the plan does not"),
        (
            planned(Subtask(A, "x"), Subtask(A, "y")),
            "plan.subtasks has two of the same id; give each its own",
        ),
        (planned(Subtask(A, "")), "subtask a: instruction is empty"),
        (planned(Subtask(A, "x", attempts_max=11)), "subtask a: attempts_max is more than 10"),
        (planned(Subtask(A, "x", timeout_s=0)), "subtask a: timeout is 0 s; give up to 86400"),
        (planned(Subtask(A, "x", reads=(Excerpt("t"),))), "subtask a: reads 't', which is no input"),
        (
            planned(Subtask(A, "x", reads=(Excerpt("t", 0, 9),)), inputs=(Input("t", "tent"),)),
            "subtask a: bytes 0 to 9 are no text of input 't'",
        ),
        (
            planned(Subtask(A, "x", reads=(Excerpt("t", 0, 1),)), inputs=(Input("t", "é"),)),
            "subtask a: bytes 0 to 1 are no text of input 't'",
        ),
        (
            Work("1", Plan((Subtask(A, "x"),), Merge.MODEL)),
            "plan.merge_instruction goes with merge MODEL, and MODEL with an instruction",
        ),
        (Work("", Goal("x")), "request_id is not 1 to 128 printable characters"),
        (Work("1", Goal("")), "goal.text is empty"),
        (Work("1", Goal("x" * 65_537)), "goal.text is longer than 65536 bytes"),
        (Work("1", Goal("x"), (Input("t", ""),)), "input 't' is empty"),
        (Work("1", Goal("x"), (Input("t", "x" * (MIB + 1)),)), "input 't' is longer than 1048576 bytes"),
        (
            Work("1", Goal("x"), (Input("t", "1"), Input("t", "2"))),
            "inputs has two that are called 't'; give each its own name",
        ),
        (
            Work("1", Goal("x"), tuple(Input(str(n), "x" * MIB) for n in range(9))),
            "inputs are longer than 8388608 bytes together",
        ),
        (Work("1", Goal("x"), limits=Limits(review_rounds_max=3)), "limits.review_rounds_max is more than 2"),
        (Work("1", Goal("x"), limits=Limits(parallel_max=257)), "limits.parallel_max is more than 256"),
        (Work("1", Goal("x"), labels={"": "x"}), "labels has one without a name; give it one"),
    ],
)
def test_work_that_cannot_be_done_is_refused_with_its_reason(work: Work, why: str):
    assert refusal(work) == why


def test_subtasks_that_wait_for_each_other_are_named():
    why = refusal(planned(Subtask(A, "x", (C,)), Subtask(B, "x", (A,)), Subtask(C, "x", (B,))))
    assert sorted(why.rpartition(": ")[2].split(" -> ")[:3]) == ["a", "b", "c"]


def test_a_plan_has_at_most_256_subtasks():
    many = tuple(Subtask(SubtaskId(f"n{n}"), "x") for n in range(257))
    assert refusal(planned(*many)) == "plan.subtasks has 257 entries; give 1 to 256"
    assert (
        len(delegations.work_from_wire(delegations.work_to_wire(planned(*many[:256]))).task.subtasks) == 256
    )


def test_a_chain_of_256_subtasks_is_no_circle():
    chain = [Subtask(SubtaskId("n0"), "x")]
    chain += [Subtask(SubtaskId(f"n{n}"), "x", (SubtaskId(f"n{n - 1}"),)) for n in range(1, 256)]
    assert delegations.work_from_wire(delegations.work_to_wire(planned(*chain))).task.subtasks == tuple(chain)


def test_what_is_left_out_has_its_default():
    message = pb.DelegateRequest(request_id="1", goal=pb.Goal(text="x"))
    assert delegations.work_from_wire(message) == Work("1", Goal("x"))


def test_neither_goal_nor_plan_is_no_work():
    with pytest.raises(InvalidRequest, match="give a goal or a plan"):
        delegations.work_from_wire(pb.DelegateRequest(request_id="1"))
