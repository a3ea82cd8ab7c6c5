"""What every engine adapter promises of tools that models call, checked on a real engine with a real model."""

from dataclasses import replace

import msgspec
import pytest

from hubspoke.types import (
    Calling,
    Capability,
    FinishReason,
    Message,
    Request,
    Sampling,
    Speaker,
    Tool,
    ToolCall,
    ToolChoice,
)
from hubspoke.wire.checks import TOOL_NAME_CHARS_MAX
from tests.contract.bench import GREEDY, REVERSE, Bench, answered, ask, begun, chat

WEATHER = Tool(
    "weather",
    "Tells the weather of a city.",
    '{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}',
)
CLOCK = Tool("clock", "Tells the time.")
TOOLS = (WEATHER, CLOCK)
OF_OSLO = {"city": "oslo"}


@pytest.fixture
def able(warm: Bench) -> Bench:
    """Give a bench whose model is loaded and calls tools."""
    warm.needs(Capability.TOOLS)
    return warm


def made(calls: tuple[ToolCall, ...]) -> list[tuple[str, object]]:
    return [(call.name, msgspec.json.decode(call.arguments)) for call in calls]


async def test_a_tool_is_called_with_arguments(able: Bench):
    answer = await answered(able.engine, able.model, chat("call weather with oslo", tools=TOOLS))

    assert made(answer.calls) == [("weather", OF_OSLO)]
    assert answer.finished.reason is FinishReason.TOOL_CALLS
    assert answer.finished.usage.output_tokens > 0
    assert answer.text == ""


async def test_a_name_as_long_as_any_may_be_comes_back_whole(able: Bench):
    able.needs(Capability.TOOL_CHOICE)  # of its own will this model calls no tool with such a name
    name = "mcp__plugin_atlassian__".ljust(TOOL_NAME_CHARS_MAX, "x")
    asked = chat(f"call {name}", tools=(replace(CLOCK, name=name),), tool_choice=ToolChoice(Calling.REQUIRED))

    answer = await answered(able.engine, able.model, asked)

    assert made(answer.calls) == [(name, {})]


async def test_a_tool_without_parameters_is_called_with_an_empty_object(able: Bench):
    answer = await answered(able.engine, able.model, chat("call clock", tools=(CLOCK,)))

    assert made(answer.calls) == [("clock", {})]


async def test_several_tools_are_called_at_once(able: Bench):
    answer = await answered(able.engine, able.model, chat("call weather with oslo, call clock", tools=TOOLS))

    assert made(answer.calls) == [("weather", OF_OSLO), ("clock", {})]


async def test_who_is_not_asked_to_call_a_tool_answers(able: Bench):
    text, finished = await ask(able.engine, able.model, chat(REVERSE[0], tools=TOOLS))

    assert (text, finished.reason) == (REVERSE[1], FinishReason.STOP)


async def test_a_call_that_is_required_is_made(able: Bench):
    able.needs(Capability.TOOL_CHOICE)
    wanted = ToolChoice(Calling.REQUIRED)

    answer = await answered(able.engine, able.model, chat(REVERSE[0], tools=TOOLS, tool_choice=wanted))

    assert [call.name for call in answer.calls] == ["weather"]
    assert answer.finished.reason is FinishReason.TOOL_CALLS


async def test_the_tool_that_is_named_is_the_one_that_is_called(able: Bench):
    able.needs(Capability.TOOL_CHOICE)
    wanted = ToolChoice(Calling.REQUIRED, name="clock")

    answer = await answered(
        able.engine, able.model, chat("call weather with oslo", tools=TOOLS, tool_choice=wanted)
    )

    assert {call.name for call in answer.calls} == {"clock"}


async def test_a_required_call_that_the_answer_has_no_room_for_is_cut_off(able: Bench):
    able.needs(Capability.TOOL_CHOICE)
    wanted = ToolChoice(Calling.REQUIRED)

    answer = await answered(
        able.engine,
        able.model,
        chat("call weather with oslo", tools=TOOLS, tool_choice=wanted, max_output_tokens=5),
    )

    assert answer.finished.reason is FinishReason.LENGTH


async def test_who_may_not_call_tools_calls_none(able: Bench):
    answer = await answered(
        able.engine, able.model, chat(REVERSE[0], tools=TOOLS, tool_choice=ToolChoice(Calling.NONE))
    )

    assert (answer.text, answer.calls) == (REVERSE[1], ())


@pytest.mark.parametrize("call_id", ["abc123456", ""])
async def test_what_a_tool_returns_is_heard(able: Bench, call_id: str):
    called = ToolCall("weather", '{"city": "oslo"}', call_id)
    turns = (
        Message(Speaker.USER, "call weather with oslo"),
        Message(Speaker.ASSISTANT, "", tool_calls=(called,)),
        Message(Speaker.TOOL, "sunny", tool_call_id=call_id, tool_name="weather"),
    )

    text, finished = await ask(
        able.engine, able.model, Request("m", messages=turns, sampling=GREEDY, tools=TOOLS)
    )

    assert (text, finished.reason) == ("It is sunny.", FinishReason.STOP)


async def test_calls_that_chance_has_a_part_in_are_still_calls(able: Bench):
    for seed in range(10):
        wild = Sampling(temperature=1.5, seed=seed)
        answer = await answered(
            able.engine, able.model, chat("call weather with oslo", tools=TOOLS, sampling=wild)
        )
        assert all(name in {"weather", "clock"} for name, _ in made(answer.calls))


async def test_closing_an_answer_in_a_call_frees_its_slot(able: Bench):
    for _ in range(2 * able.slots):
        await (await begun(able.engine, able.model, chat("call weather with oslo", tools=TOOLS))).aclose()

    assert (await ask(able.engine, able.model, chat(REVERSE[0])))[0] == REVERSE[1]
