"""Answers as numbered blocks."""

from hub.gateway.blocks import Added, Block, Blocks, Closed, Kind, Opened
from hubspoke.types import Delta, ToolCallPart

THOUGHT = Block(0, Kind.THINKING)
TEXT = Block(1, Kind.TEXT)


def steps_of(*deltas: Delta) -> list[Opened | Added | Closed]:
    blocks = Blocks("call_")
    return [*(step for delta in deltas for step in blocks.take(delta)), *blocks.close()]


def test_a_block_ends_where_another_begins():
    assert steps_of(Delta(thinking="h"), Delta(thinking="m"), Delta("Yes")) == [
        Opened(THOUGHT),
        Added(THOUGHT, "h"),
        Added(THOUGHT, "m"),
        Closed(THOUGHT, "hm"),
        Opened(TEXT),
        Added(TEXT, "Yes"),
        Closed(TEXT, "Yes"),
    ]


def test_text_after_a_call_is_a_block_of_its_own():
    call = Block(1, Kind.CALL, "c", "weather")
    steps = steps_of(
        Delta("I look."), Delta(tool_calls=(ToolCallPart(0, "c", "weather", "{}"),)), Delta("Done.")
    )
    assert [step.block.index for step in steps if isinstance(step, Opened)] == [0, 1, 2]
    assert Closed(call, "{}") in steps


def test_a_call_without_an_id_gets_one():
    opened, _ = steps_of(Delta(tool_calls=(ToolCallPart(0, "", "weather"),)))
    assert opened.block.call_id.startswith("call_")


def test_what_is_added_late_to_a_call_keeps_its_number():
    first, second = ToolCallPart(0, "a", "one", "{"), ToolCallPart(1, "b", "two", "{}")
    steps = steps_of(Delta(tool_calls=(first, second, ToolCallPart(0, arguments="}"))))
    assert [(step.block.index, step.text) for step in steps if isinstance(step, Added)] == [
        (0, "{"),
        (1, "{}"),
        (0, "}"),
    ]


def test_nothing_said_is_no_block():
    assert steps_of(Delta()) == []
