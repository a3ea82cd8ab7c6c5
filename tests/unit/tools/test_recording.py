"""The recorded session in the docs: a terminal that shows it, and files that say the same."""

import json
import re
from html import unescape
from itertools import pairwise
from pathlib import Path

import pytest

from tools.screen import Screen

IMAGES = Path(__file__).parent.parent.parent.parent / "docs" / "images"


def shown(*outputs: str, width: int = 10) -> str:
    screen = Screen(width)
    for output in outputs:
        screen.write(output)
    return screen.text().plain


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("one\r\ntwo\r\n", "one\ntwo"),
        ("one\rtw", "twe"),
        ("one\b\bx", "oxe"),
        ("one\r\ntwo\x1b[1A\r\x1b[2Kx", "x\ntwo"),
        ("one\x1b[2D\x1b[K", "o"),
        ("a\x1b[3Cb", "a   b"),
        ("abcdefghijkl", "abcdefghij\nkl"),
        ("\x1b[?25la\x1b[?2004hb", "ab"),
    ],
)
def test_a_screen_shows_what_is_left(output: str, expected: str):
    assert shown(output) == expected


def test_a_screen_keeps_colours():
    screen = Screen(10)
    screen.write("a\x1b[2mb\x1b[0mc")
    (dim,) = screen.text().spans
    assert (dim.start, dim.end) == (1, 2)


@pytest.mark.parametrize("output", ["\x1b[5;5H", "\x1b]0;title\x07", "\x1bc"])
def test_a_screen_says_what_it_cannot_show(output: str):
    with pytest.raises(ValueError, match="cannot"):
        shown(output)


def test_the_picture_shows_what_the_recording_ends_with():
    header, *events = map(json.loads, (IMAGES / "chat.cast").read_text(encoding="utf-8").splitlines())
    assert header["version"] == 2
    assert all(one[0] <= other[0] for one, other in pairwise(events))
    assert {kind for _, kind, _ in events} == {"o"}
    text = shown(*(output for _, _, output in events), width=header["width"])
    picture = unescape((IMAGES / "chat.svg").read_text(encoding="utf-8")).replace("\xa0", " ")
    lines = [line.strip() for line in re.findall(r"<text[^>]*>([^<]*)</text>", picture) if line.strip()]
    assert "".join(lines).replace(" ", "").endswith(re.sub(r"\s", "", text))
