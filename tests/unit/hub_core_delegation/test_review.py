import json

import pytest

from hub.core.delegation import review
from hub.core.delegation.plain_prompts import PLAIN
from hub.core.delegation.prompts import Answered
from hub.core.delegation.review import (
    BATCH_BYTES_MAX,
    EVIDENCE_CHARS_MAX,
    REASON_CHARS_MAX,
    RESULT_BYTES,
    SHOWN_BYTES,
    Deed,
    after,
    batches,
    needs_review,
    shown,
    verdicts,
)
from hubspoke.errors import InvalidOutput
from hubspoke.types import SubtaskId, Verdict, VerdictKind

A, B = SubtaskId("a"), SubtaskId("b")
ACCEPT, REPAIR, REDO = VerdictKind.ACCEPT, VerdictKind.REPAIR, VerdictKind.REDO


def said(*listed: dict[str, object]) -> str:
    return json.dumps({"verdicts": listed})


def test_a_verdict_has_a_reason():
    text = said(
        {"id": "a", "reason": "", "verdict": "accept"}, {"id": "b", "reason": "no year", "verdict": "repair"}
    )
    assert verdicts(text, [A, B]) == (Verdict(A, ACCEPT), Verdict(B, REPAIR, "no year"))


def test_verdicts_come_in_the_order_they_were_asked_for():
    text = said({"id": "b", "reason": "", "verdict": "redo"}, {"id": "a", "reason": "", "verdict": "accept"})
    assert [one.kind for one in verdicts(text, [A, B])] == [ACCEPT, REDO]


def test_silence_accepts_nothing():
    assert verdicts(said(), [A])[0].kind is REPAIR


def test_a_verdict_on_something_else_is_no_verdict():
    assert verdicts(said({"id": "z", "verdict": "redo"}, {"id": "a", "verdict": "accept"}), [A]) == (
        Verdict(A, ACCEPT),
    )


def test_of_two_verdicts_the_first_counts():
    text = said({"id": "a", "verdict": "repair"}, {"id": "a", "verdict": "accept"})
    assert verdicts(text, [A])[0].kind is REPAIR


def test_an_endless_reason_is_cut():
    text = said({"id": "a", "reason": "x" * 10_000, "verdict": "repair"})
    assert len(verdicts(text, [A])[0].reason) == REASON_CHARS_MAX


@pytest.mark.parametrize(
    "text",
    [
        "fine",
        "[]",
        "{}",
        "[" * 100_000,
        said({"verdict": "accept"}),
        said({"id": "a", "verdict": "good"}),
        said({"id": "a"}),
    ],
)
def test_what_is_no_review_is_refused(text: str):
    with pytest.raises(InvalidOutput):
        verdicts(text, [A])


def test_the_schema_has_the_reason_before_the_verdict():
    item = json.loads(review.SCHEMA)["properties"]["verdicts"]["items"]
    assert list(item["properties"]) == ["id", "reason", "verdict"]
    assert item["properties"]["verdict"]["enum"] == ["accept", "repair", "redo"]


def test_repairs_end_with_the_last_round():
    assert after(Verdict(A, REPAIR), rounds=1) is Deed.REPAIR
    assert after(Verdict(A, REPAIR), rounds=2) is Deed.REDO
    assert after(Verdict(A, REPAIR), rounds=1, rounds_max=1) is Deed.REDO
    assert after(Verdict(A, ACCEPT), rounds=2) is Deed.ACCEPT


@pytest.mark.parametrize(
    ("verdict", "deed"),
    [
        (None, Deed.RENEW),
        (Verdict(A, ACCEPT), Deed.RENEW),
        (Verdict(A, REPAIR), Deed.REPAIR),
        (Verdict(A, REDO), Deed.REDO),
    ],
)
def test_what_builds_on_something_else_now_is_done_over(verdict: Verdict | None, deed: Deed):
    assert after(verdict, rounds=1, is_stale=True) is deed


def test_what_nobody_judged_stays_as_it_is():
    assert after(None, rounds=1) is Deed.LEAVE


def test_a_reviewer_sees_excerpts_and_what_stands_around_a_quote():
    source = "x" * 50_000 + " the meeting is on Friday " + "y" * 50_000
    answered = shown(A, "When?", '"the meeting is on Friday" ' + "z" * 50_000, [source])
    assert len(answered.output) < SHOWN_BYTES + 50
    assert "bytes left out" in answered.output
    assert "the meeting is on Friday" in answered.evidence[0]
    assert sum(map(len, answered.evidence)) <= EVIDENCE_CHARS_MAX


def test_a_reviewer_sees_what_an_instruction_was_about():
    results = {"a": "abc", "b": "x" * 50_000}
    assert shown(A, "upper {a}", "ABC", results=results).instruction == "upper abc"
    assert len(shown(A, "upper {b}", "ABC", results=results).instruction) < RESULT_BYTES + 50


def test_nothing_found_needs_no_review_where_that_is_allowed():
    assert not needs_review("Not found.", not_found_allowed=True)
    assert needs_review("Not found.", not_found_allowed=False)
    assert needs_review("Friday", not_found_allowed=True)


def test_one_review_takes_all_that_fits():
    few = [Answered("a", "x", "y")] * 10
    assert batches(few) == (tuple(few),)
    half = Answered("a", "x", "y" * (BATCH_BYTES_MAX // 2 - 2))
    assert [len(batch) for batch in batches([half] * 3)] == [2, 1]
    assert batches([]) == ()


def test_what_is_too_long_for_any_review_gets_one_of_its_own():
    long = Answered("a", "x", "y" * (BATCH_BYTES_MAX + 1))
    assert [len(batch) for batch in batches([long, long])] == [1, 1]


def test_the_prompt_holds_what_is_to_be_judged():
    text = review.prompt(PLAIN, "Find the day.", [shown(A, "When?", "Friday")])
    assert "Find the day." in text
    assert "[a] When?" in text
    assert "Friday" in text
