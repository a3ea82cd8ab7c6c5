"""Streams that number blocks, read back: a block opens, grows, and closes before the next one opens."""

from hubspoke.errors import MeshError
from hubspoke.types import FinishReason
from tests.fuzz.reading import Json
from tests.fuzz.stories import Call, Heard, Story

STARTS = 2
"""The events that begin a response."""


def of_message(contents: list[Json], *, is_whole: bool) -> Heard:
    """Put a message of Anthropic's together from the events of its blocks; the last of one that is *is_whole* is closed."""
    heard, begun, is_open = Heard(), 0, False
    for content in contents:
        match content["type"]:
            case "content_block_start":
                assert not is_open
                assert content["index"] == begun
                is_open, begun = True, begun + 1
                block = content["content_block"]
                if block["type"] == "tool_use":
                    heard.calls[content["index"]] = Call(block["id"], block["name"])
            case "content_block_delta":
                _grow(heard, content["index"], content["delta"], is_last=content["index"] == begun - 1)
            case kind:
                assert kind == "content_block_stop"
                assert is_open
                assert content["index"] == begun - 1
                is_open = False
    assert not (is_whole and is_open)
    return heard


def _grow(heard: Heard, index: int, delta: Json, *, is_last: bool) -> None:
    match delta["type"]:
        case "text_delta":
            assert is_last
            heard.text += delta["text"]
        case "thinking_delta":
            assert is_last
            heard.thinking += delta["thinking"]
        case "input_json_delta":
            heard.calls[index].arguments += delta["partial_json"]
        case kind:
            assert kind == "signature_delta"


def of_response(contents: list[Json]) -> Heard:
    """Put a response together from the events that add something to it."""
    heard, items = Heard(), 0
    for content in contents[STARTS:]:
        match content["type"].removeprefix("response."):
            case "output_item.added":
                assert content["output_index"] == items
                items += 1
                item = content["item"]
                if item["type"] == "function_call":
                    heard.calls[content["output_index"]] = Call(item["call_id"], item["name"])
            case "output_text.delta":
                heard.text += content["delta"]
            case "reasoning_text.delta":
                heard.thinking += content["delta"]
            case "function_call_arguments.delta":
                heard.calls[content["output_index"]].arguments += content["delta"]
    return heard


def check_end_of_response(contents: list[Json], told: Story) -> None:
    """See that the whole response, which comes last, holds what the events before it have said."""
    last = contents[-1]["response"]
    assert contents[0]["response"]["output"] == []
    assert contents[-1]["type"] == f"response.{_status(told)}" == f"response.{last['status']}"
    if isinstance(told.end, MeshError):
        return  # it may have broken off in the middle of an item
    said = {"message": "", "reasoning": ""}
    for item in last["output"]:
        if item["type"] != "function_call":
            said[item["type"]] += "".join(part["text"] for part in item["content"])
    assert said == {"message": told.heard.text, "reasoning": told.heard.thinking}
    arguments = [item["arguments"] for item in last["output"] if item["type"] == "function_call"]
    assert arguments == [call.arguments or "{}" for call in told.heard.in_order()]


def _status(told: Story) -> str:
    if isinstance(told.end, MeshError):
        return "failed"
    return "incomplete" if told.end.reason is FinishReason.LENGTH else "completed"
