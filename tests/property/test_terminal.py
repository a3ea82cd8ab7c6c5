"""Whatever a model says, a terminal shows it and obeys nothing of it."""

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hubspoke.cli.chat.screen import LiveAnswer, settled
from hubspoke.cli.terminal import one_line, printable
from hubspoke.types import Delta

SIGNS = st.one_of(
    st.characters(),
    st.sampled_from(
        [
            "\n",
            "\n\n",
            "```",
            "~~~",
            "- ",
            "> ",
            "# ",
            "|",
            "*",
            "`",
            "&#27;",
            "&#x202e;",
            "[a](b)",
            "\x1b[2J",
        ]
    ),
)
TEXT = st.lists(SIGNS, max_size=40).map("".join)


@given(TEXT)
def test_what_is_printable_cannot_steer(text: str):
    assert all(sign.isprintable() or sign in "\n\t" for sign in printable(text))
    assert one_line(text).isprintable()


@given(st.lists(TEXT, max_size=6))
def test_nothing_is_lost_when_blocks_settle(parts: list[str]):
    done, rest = "", ""
    for part in parts:
        more, rest = settled(rest + part)
        done += more
    assert done + rest == "".join(parts)


@given(st.lists(TEXT, max_size=6))
def test_any_answer_can_be_drawn_and_steers_nothing(parts: list[str]):
    # Not a terminal: whatever could steer one then comes from the model.
    console = Console(file=io.StringIO(), width=40, color_system=None)
    with LiveAnswer("tiny", console) as answer:
        for part in parts:
            answer.show(Delta(part))
            answer.show(Delta(thinking=part))
    assert all(sign.isprintable() or sign in "\n\t" for sign in console.file.getvalue())
