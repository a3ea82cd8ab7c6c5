import json
from base64 import b64decode

import pytest

from hubspoke.errors import Unsupported
from hubspoke.types import (
    Calling,
    Effort,
    Image,
    JsonFormat,
    Message,
    Request,
    Sampling,
    Speaker,
    Tool,
    ToolCall,
    ToolChoice,
)
from spoke.engines.ollama.body import (
    load_options,
    messages,
    output_format,
    refuse_unkept,
    request_options,
    think,
    tools,
)

PNG = b"\x89PNG\r\n\x1a\n"
DEEP = {
    "type": "object",
    "properties": {"at": {"type": "object", "properties": {"day": {"type": "integer", "minimum": 1}}}},
    "required": ["at"],
}
WEATHER = Tool("weather", "Tells the weather.", json.dumps(DEEP))


def with_tools(choice: ToolChoice) -> Request:
    return Request("m", messages=(Message(Speaker.USER, "hi"),), tools=(WEATHER,), tool_choice=choice)


def test_a_conversation_is_told_turn_by_turn():
    turns = (Message(Speaker.SYSTEM, "be brief"), Message(Speaker.USER, "hello"))

    assert messages(Request("m", messages=turns)) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hello"},
    ]


def test_pictures_travel_as_base64():
    (turn,) = messages(Request("m", messages=(Message(Speaker.USER, "what is it?", images=(Image(PNG),)),)))

    assert [b64decode(image) for image in turn["images"]] == [PNG]


def test_calls_and_their_results_are_told_with_everything_that_belongs_to_them():
    call = ToolCall("weather", '{"at":{"day":1}}', "call_0")
    turns = (
        Message(Speaker.ASSISTANT, "", thinking="Hm.", tool_calls=(call, ToolCall("weather", "{}"))),
        Message(Speaker.TOOL, "rain", tool_name="weather", tool_call_id="call_0"),
    )

    assert messages(Request("m", messages=turns)) == [
        {
            "role": "assistant",
            "content": "",
            "thinking": "Hm.",
            "tool_calls": [
                {"id": "call_0", "function": {"name": "weather", "arguments": {"at": {"day": 1}}}},
                {"function": {"name": "weather", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "rain", "tool_name": "weather", "tool_call_id": "call_0"},
    ]


def test_a_tool_is_told_with_its_whole_schema():
    (told,) = tools(with_tools(ToolChoice()))

    function = {"name": "weather", "description": "Tells the weather.", "parameters": DEEP}
    assert told == {"type": "function", "function": function}


def test_a_tool_without_arguments_takes_an_empty_object():
    request = Request("m", messages=(Message(Speaker.USER, "hi"),), tools=(Tool("now"),))

    assert tools(request)[0]["function"]["parameters"] == {"type": "object", "properties": {}}


def test_a_model_that_may_not_call_is_told_of_no_tools():
    request = with_tools(ToolChoice(Calling.NONE, parallel=False))

    refuse_unkept(request)
    assert tools(request) == []


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (ToolChoice(Calling.REQUIRED), "call a tool"),
        (ToolChoice(Calling.REQUIRED, "weather"), "call 'weather'"),
        (ToolChoice(parallel=False), "several tools at once"),
    ],
)
def test_a_choice_that_ollama_cannot_be_held_to_is_refused(choice: ToolChoice, words: str):
    with pytest.raises(Unsupported, match=words):
        refuse_unkept(with_tools(choice))


@pytest.mark.parametrize("choice", [ToolChoice(), ToolChoice(parallel=True)])
def test_a_choice_that_is_the_models_own_is_fine(choice: ToolChoice):
    refuse_unkept(with_tools(choice))


@pytest.mark.parametrize(
    ("effort", "said"),
    [
        (None, None),
        (Effort.NONE, False),
        (Effort.LOW, "low"),
        (Effort.MEDIUM, "medium"),
        (Effort.HIGH, "high"),
    ],
)
def test_an_effort_is_told_in_ollamas_words(effort: Effort | None, said: object):
    assert think(Request("m", messages=(Message(Speaker.USER, "hi"),), thinking=effort)) is said


def test_a_form_is_a_schema_or_any_json():
    assert output_format(None) is None
    assert output_format(JsonFormat()) == "json"
    assert output_format(JsonFormat(json.dumps(DEEP))) == DEEP


def test_what_is_left_open_is_not_mentioned_but_the_limit_is_lifted():
    assert request_options(Request("m", prompt="p"), 4096) == {"num_ctx": 4096, "num_predict": -1}


def test_what_is_asked_for_is_passed_on():
    sampling = Sampling(
        temperature=0.0,
        top_p=0.5,
        top_k=7,
        min_p=0.25,
        seed=2**32 - 1,
        repeat_penalty=1.5,
        frequency_penalty=-1.0,
        presence_penalty=2.0,
    )

    options = request_options(
        Request("m", prompt="p", sampling=sampling, max_output_tokens=5, stop=("a", "b")), 4096
    )

    assert options == {
        "num_ctx": 4096,
        "temperature": 0.0,
        "top_p": 0.5,
        "top_k": 7,
        "min_p": 0.25,
        "seed": 0,
        "repeat_penalty": 1.5,
        "frequency_penalty": -1.0,
        "presence_penalty": 2.0,
        "num_predict": 5,
        "stop": ["a", "b"],
    }


def test_every_request_repeats_what_the_model_was_loaded_with():
    options = request_options(Request("m", prompt="p", max_output_tokens=5), 2048)

    assert load_options(2048).items() <= options.items()
