import pytest

from hubspoke.errors import InvalidRequest, Unsupported
from hubspoke.types import (
    Calling,
    Effort,
    JsonFormat,
    Message,
    Request,
    Sampling,
    Speaker,
    Tool,
    ToolChoice,
)
from spoke.engines.openai.body import CHAT_PATH, COMPLETION_PATH, ECHO_CHARS_MAX, SEEDS, streamed
from spoke.engines.openai.dialect import LLAMA_CPP, PLAIN, SGLANG, VLLM, Dialect


def test_a_conversation_goes_through_the_models_template():
    turns = (Message(Speaker.SYSTEM, "be brief"), Message(Speaker.USER, "hello"))

    call = streamed("tiny", Request("mesh-name", messages=turns), PLAIN)

    assert call.path == CHAT_PATH
    assert call.body == {
        "model": "tiny",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}],
    }


def test_a_raw_prompt_is_continued_as_it_is():
    call = streamed("tiny", Request("tiny", prompt="once upon"), PLAIN)

    assert call.path == COMPLETION_PATH
    assert call.body["prompt"] == "once upon"
    assert "messages" not in call.body


def test_what_is_asked_for_is_passed_on():
    sampling = Sampling(temperature=0.0, top_p=0.5, top_k=7, min_p=0.25, seed=9)

    body = streamed(
        "m", Request("m", prompt="p", sampling=sampling, max_output_tokens=5, stop=("a", "b")), PLAIN
    ).body

    assert (body["temperature"], body["top_p"], body["top_k"], body["min_p"]) == (0.0, 0.5, 7, 0.25)
    assert (body["seed"], body["max_tokens"], body["stop"]) == (9, 5, ["a", "b"])


def test_a_seed_fits_into_32_bits_and_never_means_any_seed():
    def seed(value: int) -> object:
        return streamed("m", Request("m", prompt="p", sampling=Sampling(seed=value)), PLAIN).body["seed"]

    assert seed(2**32 - 1) != 2**32 - 1
    assert all(0 <= seed(value) < SEEDS for value in (-1, -(2**63), 2**63 - 1))


HELLO = (Message(Speaker.USER, "hello"),)
SCHEMA = '{"type": "object"}'
WEATHER = Tool("weather", "Tells the weather.", '{"type":"object","properties":{"city":{"type":"string"}}}')
CLOCK = Tool("clock")
DIALECTS = [PLAIN, LLAMA_CPP, VLLM, SGLANG]


def body(dialect: Dialect = PLAIN, **fields: object) -> dict[str, object]:
    given = {"messages": HELLO, **fields}
    return streamed("m", Request("m", **given), dialect).body


@pytest.mark.parametrize(
    ("dialect", "name"),
    [
        (PLAIN, "repeat_penalty"),
        (LLAMA_CPP, "repeat_penalty"),
        (VLLM, "repetition_penalty"),
        (SGLANG, "repetition_penalty"),
    ],
)
def test_penalties_have_the_names_that_the_server_knows(dialect: Dialect, name: str):
    sampling = Sampling(frequency_penalty=0.5, presence_penalty=-0.5, repeat_penalty=1.1)

    asked = body(dialect, sampling=sampling)

    assert (asked["frequency_penalty"], asked["presence_penalty"], asked[name]) == (0.5, -0.5, 1.1)


def test_what_is_not_asked_for_is_not_mentioned():
    assert body().keys() == {"model", "stream", "stream_options", "messages"}


def test_tools_are_described_and_one_without_parameters_takes_an_empty_object():
    asked = body(tools=(WEATHER, CLOCK))

    weather, clock = [tool["function"] for tool in asked["tools"]]
    assert weather == {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    }
    assert clock == {"name": "clock", "parameters": {"type": "object", "properties": {}}}
    assert asked["tool_choice"] == "auto"
    assert "parallel_tool_calls" not in asked


@pytest.mark.parametrize("mode", list(Calling))
def test_how_free_the_model_is_to_call_is_passed_on(mode: Calling):
    assert body(tools=(CLOCK,), tool_choice=ToolChoice(mode))["tool_choice"] == mode.value


@pytest.mark.parametrize("dialect", [PLAIN, VLLM, SGLANG])
def test_a_tool_is_demanded_by_its_name(dialect: Dialect):
    asked = body(dialect, tools=(WEATHER, CLOCK), tool_choice=ToolChoice(Calling.REQUIRED, "clock"))

    assert asked["tool_choice"] == {"type": "function", "function": {"name": "clock"}}
    assert len(asked["tools"]) == 2


def test_a_server_that_takes_no_names_is_told_of_the_demanded_tool_alone():
    asked = body(LLAMA_CPP, tools=(WEATHER, CLOCK), tool_choice=ToolChoice(Calling.REQUIRED, "clock"))

    assert asked["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in asked["tools"]] == ["clock"]


@pytest.mark.parametrize("parallel", [True, False])
def test_several_calls_at_once_can_be_asked_for_and_forbidden(parallel: bool):  # noqa: FBT001  # what is tested
    asked = body(tools=(CLOCK,), tool_choice=ToolChoice(parallel=parallel))

    assert asked["parallel_tool_calls"] is parallel


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_format_of_a_conversation_is_the_apis_own(dialect: Dialect):
    assert body(dialect, format=JsonFormat())["response_format"] == {"type": "json_object"}
    assert body(dialect, format=JsonFormat(SCHEMA))["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
    }


def test_the_order_of_a_schemas_properties_is_kept():
    schema = '{"properties": {"z": {}, "a": {}, "m": {}}}'

    sent = body(format=JsonFormat(schema))["response_format"]["json_schema"]["schema"]

    assert list(sent["properties"]) == ["z", "a", "m"]


def test_a_format_after_a_raw_prompt_goes_by_the_server():
    def prompted(dialect: Dialect, wanted: JsonFormat) -> dict[str, object]:
        return body(dialect, messages=(), prompt="p", format=wanted)

    assert prompted(LLAMA_CPP, JsonFormat(SCHEMA))["json_schema"] == {"type": "object"}
    assert prompted(LLAMA_CPP, JsonFormat())["json_schema"] == {"type": "object"}
    assert prompted(VLLM, JsonFormat())["response_format"] == {"type": "json_object"}
    assert prompted(SGLANG, JsonFormat(SCHEMA))["response_format"]["type"] == "json_schema"
    with pytest.raises(Unsupported):
        prompted(PLAIN, JsonFormat(SCHEMA))


@pytest.mark.parametrize("dialect", [LLAMA_CPP, VLLM, SGLANG])
def test_thinking_is_switched_in_the_chat_template(dialect: Dialect):
    little, none = body(dialect, thinking=Effort.LOW), body(dialect, thinking=Effort.NONE)

    assert (little["reasoning_effort"], little["chat_template_kwargs"]["enable_thinking"]) == ("low", True)
    assert none["chat_template_kwargs"]["enable_thinking"] is False
    assert "reasoning_effort" not in none


def test_a_server_that_nobody_knows_is_told_of_thinking_in_the_apis_own_words():
    assert body(thinking=Effort.NONE)["reasoning_effort"] == "none"
    assert "chat_template_kwargs" not in body(thinking=Effort.HIGH)


@pytest.mark.parametrize("schema", ['{"type": "array", "minItems": 2000000000}', "[" * 100_000, "{"])
def test_what_would_keep_a_server_busy_is_not_sent_to_it(schema: str):
    with pytest.raises(InvalidRequest):
        body(format=JsonFormat(schema))
    with pytest.raises(InvalidRequest):
        body(tools=(Tool("clock", parameters=schema),))


def test_llama_cpp_is_let_tell_everything_where_a_stop_text_may_end_the_answer_and_the_prompt_is_short():
    def body(prompt: str, *stop: str, dialect: Dialect = LLAMA_CPP) -> dict[str, object]:
        return streamed("m", Request("m", prompt=prompt, stop=stop), dialect).body

    assert body("p", "END")["verbose"] is True
    long = "p" * (ECHO_CHARS_MAX + 1)
    assert all(
        "verbose" not in asked for asked in (body("p"), body(long, "END"), body("p", "END", dialect=VLLM))
    )


def test_a_schema_that_nothing_fits_is_refused_in_words_before_the_server_is_asked():
    tool = Tool("f", "", '{"type":"object","properties":{"a":{"enum":[]}}}')
    for request in (
        Request("m", messages=HELLO, tools=(tool,)),
        Request("m", messages=HELLO, format=JsonFormat('{"type":"any"}')),
    ):
        with pytest.raises(InvalidRequest, match="a schema of the request has a"):
            streamed("m", request, LLAMA_CPP)
