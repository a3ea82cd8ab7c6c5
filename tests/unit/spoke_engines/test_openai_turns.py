from base64 import b64encode

import pytest

from hubspoke.types import Image, Message, Speaker, ToolCall
from spoke.engines.openai.dialect import LLAMA_CPP, PLAIN, VLLM
from spoke.engines.openai.turns import turns
from tests.fakes.images import png

CALL = ToolCall("weather", '{"city": "oslo"}', "abc")


def result(text: str, call_id: str = "", tool: str = "weather") -> Message:
    return Message(Speaker.TOOL, text, tool_call_id=call_id, tool_name=tool)


def calling(*calls: ToolCall) -> Message:
    return Message(Speaker.ASSISTANT, "", tool_calls=calls)


def test_images_stand_before_the_text():
    picture = png(1, 1)
    (written,) = turns([Message(Speaker.USER, "what is it", images=(Image(picture),))], PLAIN)

    url = f"data:image/png;base64,{b64encode(picture).decode()}"
    assert written["content"] == [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": "what is it"},
    ]


def test_an_image_may_stand_alone():
    (written,) = turns([Message(Speaker.USER, "", images=(Image(png(1, 1)), Image(png(2, 2))))], PLAIN)

    assert [part["type"] for part in written["content"]] == ["image_url", "image_url"]


def test_calls_and_their_results_belong_together():
    call, returned = turns([calling(CALL), result("sunny", "abc")], PLAIN)

    function = {"name": "weather", "arguments": '{"city": "oslo"}'}
    assert call == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "abc", "type": "function", "function": function}],
    }
    assert returned == {"role": "tool", "tool_call_id": "abc", "name": "weather", "content": "sunny"}


def test_calls_without_ids_get_some_and_so_do_their_results():
    weather, clock = ToolCall("weather", "{}"), ToolCall("clock", "{}")

    call, *returned = turns(
        [calling(weather, clock, weather), result("12", tool="clock"), result("sunny"), result("rain")], PLAIN
    )

    ids = [made["id"] for made in call["tool_calls"]]
    assert len(set(ids)) == 3
    assert [turn["tool_call_id"] for turn in returned] == [ids[1], ids[0], ids[2]]


def test_ids_that_are_made_up_differ_from_turn_to_turn():
    bare = ToolCall("weather", "{}")

    first, _, second, again = turns([calling(bare), result("1"), calling(bare), result("2")], PLAIN)

    assert first["tool_calls"][0]["id"] != second["tool_calls"][0]["id"]
    assert again["tool_call_id"] == second["tool_calls"][0]["id"]


@pytest.mark.parametrize(
    ("dialect", "key"), [(LLAMA_CPP, "reasoning_content"), (VLLM, "reasoning"), (PLAIN, None)]
)
def test_earlier_thoughts_go_where_the_server_takes_them(dialect: object, key: str | None):
    (written,) = turns([Message(Speaker.ASSISTANT, "Paris", thinking="France...")], dialect)

    assert written == {"role": "assistant", "content": "Paris"} | ({key: "France..."} if key else {})
