import json

import pytest

from hubspoke.errors import ContextTooLong, EngineProtocol, EngineTruncated, InvalidOutput
from hubspoke.types import Delta, Finished, FinishReason, ToolCallPart, Usage
from spoke.engines.openai.answer import Answer

USAGE = {"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15}


def chat(content: object = None, finish: object = None) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish}]}


def read(*chunks: object) -> tuple[list[Delta], Answer]:
    answer = Answer()
    return [delta for chunk in chunks for delta in answer.read(json.dumps(chunk))], answer


def end(*chunks: object) -> Finished:
    return read(*chunks)[1].finished()[1]


def test_the_text_of_a_conversation_comes_in_deltas():
    deltas, answer = read(chat(), chat("Hel"), chat("lo"), chat("", finish="stop"))

    assert deltas == [Delta("Hel"), Delta("lo")]
    assert answer.finished()[1].reason is FinishReason.STOP


def test_the_text_after_a_raw_prompt_comes_in_deltas():
    deltas, _ = read({"choices": [{"text": "Hel"}]}, {"choices": [{"text": "lo", "finish_reason": "length"}]})

    assert deltas == [Delta("Hel"), Delta("lo")]


def test_chunks_without_text_are_signs_of_life():
    odd = [{}, {"choices": None}, {"choices": []}, {"choices": [{}]}, {"choices": [{"delta": {}}]}]
    progress = {**chat(), "prompt_progress": {"total": 9, "processed": 4}}

    assert read(*odd, progress, chat(None))[0] == []


def test_the_engines_own_figures_are_the_cost():
    _, answer = read(
        chat("x"),
        chat(finish="stop"),
        {
            "choices": [],
            "usage": {**USAGE, "prompt_tokens_details": {"cached_tokens": 10}},
            "timings": {
                "cache_n": 10,
                "prompt_n": 1,
                "prompt_ms": 250,
                "predicted_n": 4,
                "predicted_ms": 500.5,
            },
        },
    )

    assert answer.finished()[1].usage == Usage(11, 4, cached_tokens=10, prompt_s=0.25, decode_s=0.5005)


def test_usage_may_come_with_the_last_chunk():
    _, answer = read({**chat("x", finish="length"), "usage": USAGE})

    assert answer.finished()[1].usage == Usage(11, 4)


def test_without_usage_chunks_are_counted():
    _, answer = read(chat("a"), chat("b"), chat("c", finish="stop"))

    assert answer.finished()[1].usage == Usage(prompt_tokens=0, output_tokens=3)


def test_without_usage_the_timings_tell_how_long_the_prompt_was():
    _, answer = read(chat("a"), {**chat(finish="stop"), "timings": {"cache_n": 6, "prompt_n": 3}})

    assert answer.finished()[1].usage == Usage(prompt_tokens=9, output_tokens=1, cached_tokens=6)


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("tool_calls", FinishReason.STOP),
        ("content_filter", FinishReason.STOP),
    ],
)
def test_ends_have_names(named: str, reason: FinishReason):
    assert end(chat("x", finish=named)).reason is reason


def test_an_answer_without_an_end_is_truncated():
    with pytest.raises(EngineTruncated):
        read(chat("half an ans"))[1].finished()


def test_an_end_that_nobody_knows_is_no_whole_answer():
    with pytest.raises(EngineTruncated):
        read(chat("x", finish="abort"))


def test_an_error_in_the_middle_ends_the_answer():
    with pytest.raises(EngineTruncated) as broken:
        read(chat("x"), {"error": {"code": 500, "message": "bad /home/x", "type": "server_error"}})
    assert "/home" not in broken.value.message


def test_a_context_that_overflows_in_the_middle_says_so():
    error = {"type": "exceed_context_size_error", "code": 400, "n_prompt_tokens": 9, "n_ctx": 8}
    with pytest.raises(ContextTooLong):
        read({"error": error})


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "{",
        "[]",
        '"x"',
        '{"choices": 5}',
        '{"choices": [{"delta": {"content": 5}}]}',
        '{"usage": {"prompt_tokens": -1}}',
        '{"choices": [{"delta": {"tool_calls": 5}}]}',
        '{"error": ' + "[" * 5000,
        '{"choices": [{"delta": {"tool_calls": [{"index": "0"}]}}]}',
        '{"choices": [{"delta": {"tool_calls": [{"function": {"arguments": [1]}}]}}]}',
    ],
)
def test_a_chunk_that_makes_no_sense_is_refused(payload: str):
    with pytest.raises(EngineProtocol):
        Answer().read(payload)


# Thoughts and calls.


def said(finish: object = None, **delta: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def called(name: str, arguments: str = "{}", **part: object) -> dict[str, object]:
    return {**part, "type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_thoughts_come_by_either_name(name: str):
    deltas, _ = read(said(**{name: "Hm"}), said(**{name: "m", "content": None}), said(content="Hi"))

    assert deltas == [Delta(thinking="Hm"), Delta(thinking="m"), Delta("Hi")]


def test_a_server_that_says_its_thoughts_twice_thinks_them_once():
    assert read(said(reasoning="Hm", reasoning_content="Hm"))[0] == [Delta(thinking="Hm")]


def test_a_chunk_of_several_kinds_is_several_deltas_and_one_token():
    call = called("clock", index=0, id="a")

    deltas, answer = read(said("tool_calls", reasoning="Hm", content="Hi", tool_calls=[call]))

    assert deltas == [
        Delta(thinking="Hm"),
        Delta("Hi", tokens=0),
        Delta(tokens=0, tool_calls=(ToolCallPart(0, "a", "clock", "{}"),)),
    ]
    assert answer.finished()[1].usage.output_tokens == 1


@pytest.mark.parametrize("finish", ["stop", "tool_calls", "function_call"])
def test_an_answer_with_calls_ends_with_them_whatever_the_server_says(finish: str):
    _, answer = read(said(tool_calls=[called("clock", index=0)]), said(finish))

    assert answer.called == ("clock",)
    assert answer.finished()[1].reason is FinishReason.TOOL_CALLS


def test_calls_that_were_cut_off_end_with_the_limit():
    _, answer = read(said(tool_calls=[called("clock", '{"n', index=0)]), said("length"))

    assert answer.finished() == ((), Finished(FinishReason.LENGTH, Usage(0, 1)))


def test_calls_that_nobody_gave_arguments_get_them_at_the_end():
    _, answer = read(said("tool_calls", tool_calls=[called("clock", "", index=0)]))

    assert answer.finished()[0] == (Delta(tokens=0, tool_calls=(ToolCallPart(0, arguments="{}"),)),)


def test_arguments_that_are_no_object_are_no_answer():
    _, answer = read(said("tool_calls", tool_calls=[called("clock", '{"n": ', index=0)]))

    with pytest.raises(InvalidOutput):
        answer.finished()


def test_the_parser_of_llama_cpp_that_gives_up_is_the_models_fault_and_worth_another_try():
    message = "The model produced output that does not match the expected peg-native format"
    with pytest.raises(InvalidOutput):
        read(chat("x"), {"error": {"code": 500, "message": message, "type": "server_error"}})


def stopped(end: dict[str, object], *, finish: str = "stop") -> Finished:
    answer = Answer(stops=("###", "END"))
    last = chat("x", finish=finish)
    last["choices"][0] |= end
    answer.read(json.dumps(last | {key: end[key] for key in end if key == "__verbose"}))
    return answer.finished()[1]


@pytest.mark.parametrize(
    "said", [{"stop_reason": "END"}, {"matched_stop": "END"}, {"__verbose": {"stopping_word": "END"}}]
)
def test_each_kind_of_server_tells_the_stop_text_in_its_own_way(said: dict[str, object]):
    assert stopped(said).stop == "END"
    assert stopped(said, finish="length").stop == ""


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"stop_reason": 151645},
        {"stop_reason": "eosFound"},
        {"stop_reason": ["END"]},
        {"matched_stop": None},
        {"__verbose": None},
        {"__verbose": {"stop_type": "eos", "stopping_word": ""}},
    ],
)
def test_what_is_no_stop_text_of_the_request_is_none(said: dict[str, object]):
    assert stopped(said).stop == ""
