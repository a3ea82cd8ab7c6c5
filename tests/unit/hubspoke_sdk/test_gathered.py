"""Whole answers, put together from parts."""

import pytest

from hubspoke.errors import EngineTruncated
from hubspoke.gathered import Gathered
from hubspoke.types import (
    Delta,
    Finished,
    FinishReason,
    ModelKey,
    SpokeId,
    Started,
    ToolCall,
    ToolCallPart,
    Usage,
)

STARTED = Started(SpokeId("den"), "tiny", ModelKey("sha256:aa"), queue_s=0.0, attempt=1)
FINISHED = Finished(FinishReason.STOP, Usage(1, 1))


def gathered(*events) -> Gathered:
    said = Gathered()
    for event in events:
        said.add(event)
    return said


def test_text_and_thinking_are_kept_apart():
    answer = gathered(STARTED, Delta(thinking="Hm"), Delta(thinking="!"), Delta("Yes"), FINISHED).answer()
    assert (answer.thinking, answer.text) == ("Hm!", "Yes")


def test_the_parts_of_calls_that_come_by_turns_become_whole_calls():
    one = ToolCallPart(0, id="a", name="add", arguments='{"x":')
    two = ToolCallPart(1, id="b", name="now", arguments="{}")
    rest = ToolCallPart(0, arguments="1}")
    answer = gathered(STARTED, Delta(tool_calls=(one, two)), Delta(tool_calls=(rest,)), FINISHED).answer()
    assert answer.tool_calls == (ToolCall("add", '{"x":1}', "a"), ToolCall("now", "{}", "b"))


def test_an_answer_that_has_not_ended_says_what_it_has():
    said = gathered(STARTED, Delta("Once"))
    assert (said.text, said.started) == ("Once", STARTED)


@pytest.mark.parametrize("events", [(STARTED, Delta("x")), (Delta("x"), FINISHED), ()])
def test_an_answer_without_a_beginning_or_an_end_is_not_whole(events):
    with pytest.raises(EngineTruncated):
        gathered(*events).answer()
