import json

import pytest
from ollama import ChatResponse, GenerateResponse, Message

from hubspoke.errors import EngineProtocol, EngineTruncated
from hubspoke.types import Delta, Finished, FinishReason, Request, Speaker, ToolCall, ToolCallPart, Usage
from hubspoke.types import Message as Turn
from hubspoke.wire.answers import delta_bytes
from spoke.engines.ollama.answer import Answer
from spoke.engines.openai.calls import CALLS_MAX

PROMPT = Request("m", prompt="p")


def said(text: str = "", *, done: bool = False, reason: str | None = None, **more: object) -> ChatResponse:
    message = Message(role="assistant", content=text, **more)
    return ChatResponse(message=message, done=done, done_reason=reason)


def a_call(name: str, **arguments: object) -> Message.ToolCall:
    return Message.ToolCall(function=Message.ToolCall.Function(name=name, arguments=arguments))


def test_an_answer_is_its_parts_and_what_they_cost():
    answer = Answer(PROMPT)
    assert answer.chatted(said("Hi")) == (Delta("Hi"),)
    assert answer.chatted(said("")) == ()
    end = GenerateResponse(
        done=True,
        done_reason="length",
        prompt_eval_count=7,
        prompt_eval_duration=2_000_000,
        eval_count=3,
        eval_duration=1_500_000_000,
    )
    assert answer.continued(end) == ()

    usage = Usage(prompt_tokens=7, output_tokens=3, prompt_s=0.002, decode_s=1.5)
    assert answer.finished() == Finished(FinishReason.LENGTH, usage)


def test_thoughts_text_and_calls_of_one_part_are_told_apart_and_count_once():
    answer = Answer(PROMPT)
    deltas = answer.chatted(said("Yes.", thinking="Hm.", tool_calls=[a_call("weather")]))

    assert deltas == (
        Delta(thinking="Hm."),
        Delta("Yes.", tokens=0),
        Delta(tokens=0, tool_calls=(ToolCallPart(0, "call_0", "weather", "{}"),)),
    )


def test_halves_of_signs_are_replaced_as_no_message_carries_them():
    half = "a\ud83db"
    answer = Answer(PROMPT)
    deltas = answer.chatted(said(half, thinking=half, tool_calls=[a_call(half, city=half)]))
    deltas += answer.continued(GenerateResponse(response=half))

    assert "\ud83d" not in repr(deltas)
    assert b"".join(delta_bytes(delta) for delta in deltas).count("a\ufffdb".encode()) == 5


def test_calls_get_numbers_ids_and_arguments_as_text():
    answer = Answer(PROMPT)
    first = answer.chatted(said(tool_calls=[a_call("weather", city="Zürich", days=2**70)]))
    second = answer.chatted(said(tool_calls=[a_call("time"), a_call("time", zone=None)], done=True))

    parts = [part for delta in first + second for part in delta.tool_calls]
    assert [(part.index, part.id, part.name) for part in parts] == [
        (0, "call_0", "weather"), (1, "call_1", "time"), (2, "call_2", "time"),
    ]  # fmt: skip
    assert parts[0].arguments == f'{{"city":"Zürich","days":{2**70}}}'
    assert [json.loads(part.arguments) for part in parts[1:]] == [{}, {"zone": None}]


def test_ids_are_counted_on_from_the_calls_of_the_conversation():
    called = Turn(Speaker.ASSISTANT, "", tool_calls=(ToolCall("a", "{}", "call_0"), ToolCall("b", "{}", "x")))
    answer = Answer(Request("m", messages=(called,)))
    (delta,) = answer.chatted(said(tool_calls=[a_call("c")]))

    assert (delta.tool_calls[0].index, delta.tool_calls[0].id) == (0, "call_2")


@pytest.mark.parametrize(
    ("reason", "meant"),
    [("stop", FinishReason.TOOL_CALLS), (None, FinishReason.TOOL_CALLS), ("length", FinishReason.LENGTH)],
)
def test_an_answer_that_stops_after_calls_has_stopped_for_them(reason: str | None, meant: FinishReason):
    answer = Answer(PROMPT)
    answer.chatted(said(tool_calls=[a_call("time")], done=True, reason=reason))

    assert answer.finished().reason is meant


def test_calls_without_end_are_no_answer():
    answer = Answer(PROMPT)
    answer.chatted(said(tool_calls=[a_call("time")] * CALLS_MAX))

    with pytest.raises(EngineProtocol):
        answer.chatted(said(tool_calls=[a_call("time")]))


def test_after_a_raw_prompt_there_is_only_text():
    assert Answer(PROMPT).continued(GenerateResponse(response="a", thinking="b")) == (Delta("a"),)


def test_what_ollama_does_not_tell_is_counted_or_unknown():
    answer = Answer(PROMPT)
    answer.chatted(said("a"))
    answer.continued(GenerateResponse(done=True, eval_count=None))

    assert answer.finished() == Finished(FinishReason.STOP, Usage(0, 1))


@pytest.mark.parametrize(
    "end", [None, GenerateResponse(done=False), GenerateResponse(done=True, done_reason="load")]
)
def test_an_answer_without_a_proper_end_is_truncated(end: GenerateResponse | None):
    answer = Answer(PROMPT)
    answer.chatted(said("a"))
    if end is not None:
        answer.continued(end)

    with pytest.raises(EngineTruncated):
        answer.finished()


def test_figures_that_cannot_be_are_cut_to_what_can():
    answer = Answer(PROMPT)
    answer.continued(GenerateResponse(done=True, prompt_eval_count=2**40, eval_count=-3, eval_duration=-5))

    assert answer.finished().usage == Usage(2**32 - 1, 0, decode_s=0.0)
