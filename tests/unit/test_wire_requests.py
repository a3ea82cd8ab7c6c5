"""What a program asks for, on its way to the hub and through its door."""

import msgspec
import pytest

from hubspoke.errors import InvalidRequest
from hubspoke.types import Calling, EmbedRequest, JsonFormat, Message, Request, Speaker, Tool, ToolChoice
from hubspoke.wire.requests import embed_to_wire, request_from_wire, request_to_wire

HELLO = (Message(Speaker.USER, "hello"),)


def nested(levels: int) -> str:
    return '{"items":' * levels + "{}" + "}" * levels


def test_a_call_that_is_demanded_without_tools_is_refused_and_not_forgotten():
    asked = Request("m", messages=HELLO, tool_choice=ToolChoice(Calling.REQUIRED))

    with pytest.raises(InvalidRequest, match="tool_choice needs tools"):
        request_from_wire(request_to_wire(asked))


@pytest.mark.parametrize("mode", [Calling.AUTO, Calling.NONE])
def test_without_tools_the_other_choices_say_nothing(mode: Calling):
    asked = Request("m", messages=HELLO, tool_choice=ToolChoice(mode))

    assert request_from_wire(request_to_wire(asked))[0].tool_choice == ToolChoice()


@pytest.mark.parametrize("levels", [10, 100, *range(900, 1000, 7)])
def test_schemas_that_pass_the_door_can_be_written_into_a_larger_body(levels: int):
    asked = Request(
        "m", messages=HELLO, tools=(Tool("t", "", nested(levels)),), format=JsonFormat(nested(levels))
    )
    try:
        passed, _ = request_from_wire(request_to_wire(asked))
    except InvalidRequest:
        assert levels > 500
        return

    body = [[[[[[msgspec.json.decode(tool.parameters) for tool in passed.tools]]]]]]
    assert msgspec.json.decode(msgspec.json.encode(body)) == body


def test_text_that_is_no_unicode_is_refused():
    with pytest.raises(InvalidRequest, match="not Unicode"):
        request_to_wire(Request("m", messages=(Message(Speaker.USER, "\udcff"),)))
    with pytest.raises(InvalidRequest, match="not Unicode"):
        embed_to_wire(EmbedRequest("m", ("\udcff",)))
