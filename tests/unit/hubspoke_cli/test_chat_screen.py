"""How an answer is drawn: in blocks that do not change any more, and never with what a terminal would obey."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from hubspoke.cli.chat.screen import LiveAnswer, Shown, settled
from hubspoke.types import (
    Delta,
    Finished,
    FinishReason,
    ModelKey,
    SpokeId,
    Started,
    ToolCallPart,
    Usage,
    Waiting,
)

STARTED = Started(SpokeId("den"), "tiny", ModelKey("sha256:aa"), queue_s=0.0, attempt=1)
FINISHED = Finished(FinishReason.STOP, Usage(3, 2))


@pytest.mark.parametrize(
    ("text", "done"),
    [
        ("one", ""),
        ("one\n\n", ""),
        ("one\n\ntwo", "one\n\n"),
        ("- one\n\n  still one", ""),
        ("- one\n\n- two", "- one\n\n"),
        ("```\none\n\ntwo", ""),
        ("```\none\n\n```\n\ntwo", "```\none\n\n```\n\n"),
        ("````\n```\n\none", ""),
        ("one\n\n```\ntwo\n\nthree", "one\n\n"),
        ("~~~\none\n\n```\n\ntwo", ""),
    ],
)
def test_a_block_is_settled_when_another_one_begins(text: str, done: str):
    assert settled(text) == (done, text.removeprefix(done))


def drawn(*events, width: int = 60) -> str:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=10, color_system=None)
    with LiveAnswer("tiny", console) as answer:
        for event in events:
            answer.show(event)
    return console.file.getvalue()


def test_markdown_is_drawn_and_who_made_it_told():
    text = drawn(STARTED, Delta("# Head\n\nsome **bold** words\n\n- a"), Delta("\n- b\n"), FINISHED)
    for fact in ("Head", "some bold words", " • a", " • b", "tiny on den: 2 tokens"):
        assert fact in text
    assert "**" not in text


def test_a_load_and_thinking_and_calls_are_shown():
    call = Delta(tool_calls=(ToolCallPart(0, "a", "add", '{"x":1}'),))
    text = drawn(Waiting("den", 3, 9), STARTED, Delta(thinking="let me see"), Delta("Yes"), call, FINISHED)
    for fact in ("let me see", "Yes", 'Calls add({"x":1})'):
        assert fact in text


def test_what_has_no_end_stays_on_the_screen():
    assert "Once upon" in drawn(STARTED, Delta("Once upon"))


@pytest.mark.parametrize(
    "evil",
    [
        "\x1b]0;title\x07",
        "\x1b[2J",
        "\x9b2J",
        "a\x08\x08b",
        "\u202egnp.exe",
        "&#27;[2J",
        "&#x202e;",
        "&#x9b;2J",
        "[x](http://a/\x1b[2J)",
        "```\n\x1b[2J\n```",
        "<b\x1b[2J>",
    ],
)
def test_a_model_cannot_steer_the_terminal(evil: str):
    plain = drawn(STARTED, Delta(f"a{evil}z"), Delta(thinking=f"a{evil}z"), FINISHED)
    for part in ("\x1b]", "\x1b[2J", "\x9b", "\x08", "\x07", "\u202e"):
        assert part not in plain


def test_a_link_shows_where_it_leads():
    assert "http://evil.example" in drawn(STARTED, Delta("[bank](http://evil.example)"), FINISHED)


def test_only_the_last_lines_of_what_is_too_high_are_drawn_again():
    console = Console(file=io.StringIO(), width=20)
    console.print(Shown(Text("\n".join("abcdef")), lines_max=2))
    assert console.file.getvalue() == "e\nf\n"
