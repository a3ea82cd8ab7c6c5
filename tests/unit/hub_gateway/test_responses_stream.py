"""The stream of a response: what comes late, and what comes twice."""

import json
from datetime import UTC, datetime

from hub.gateway.openai.responses_answers import ResponseLabel, ResponseVoice
from hub.gateway.openai.responses_bodies import ResponsesBody
from hubspoke.types import Delta, Finished, FinishReason, ModelKey, SpokeId, Started, ToolCallPart, Usage

STARTED = Started(SpokeId("s"), "m", ModelKey("k"), 0.0, 1)
FINISHED = Finished(FinishReason.TOOL_CALLS, Usage(1, 1))


def voice() -> ResponseVoice:
    return ResponseVoice(ResponseLabel(ResponsesBody(model="m", input="a"), datetime(2026, 1, 2, tzinfo=UTC)))


def events(stream: bytes) -> list[dict[str, object]]:
    return [json.loads(line.removeprefix(b"data: ")) for line in stream.splitlines() if line[:5] == b"data:"]


def test_the_whole_response_has_what_was_added_to_a_call_after_its_end():
    told = voice()
    told.started(STARTED)
    for part in (
        ToolCallPart(0, "call_0", "a"),
        ToolCallPart(1, "call_1", "b", "{}"),
        ToolCallPart(0, arguments='{"c": 1}'),
    ):
        told.said(Delta(tool_calls=(part,)))
    response = events(told.finished(FINISHED))[-1]["response"]
    assert [item["arguments"] for item in response["output"]] == ['{"c": 1}', "{}"]


def test_a_second_start_which_nobody_hears_leaves_no_gap_in_the_numbers():
    told = voice()
    first = told.started(STARTED)
    told.started(STARTED)
    numbers = [event["sequence_number"] for event in events(first + told.finished(FINISHED))]
    assert numbers == [0, 1, 2]
