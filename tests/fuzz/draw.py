"""Bytes as choices, numbers and texts, so that a fuzzer that changes a byte changes one decision."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

TEXT_SIGNS_MAX: Final = 24
LIST_MAX: Final = 5
JSON_DEPTH_MAX: Final = 3

# What ends a line for somebody, what JSON or SSE has a meaning for, and what takes one to four bytes.
ODD_SIGNS: Final = (
    "\n\r\t\v\f\x00\x1b\x1c\x1d\x1e\x1f\x7f\x85\u2028\u2029\ufeff\ufffd\ufffe\ud7ff\ue000"
    "\"\\/:{}[],'<> -_0é\u0301\u200d漢👩\U0010ffff"
)
DEPTHS: Final = (2, 60, 250, 500, 800, 920, 940, 950, 960, 970, 980, 990, 1000, 2000)
"""Of lists in lists: what anybody may send, what Python's stack just takes, and what it does not take."""

NUMBERS: Final = (
    0,
    1,
    -1,
    2,
    64,
    128,
    255,
    4096,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**53 + 1,
    2**63,
    2**64,
)


_DEEP: Final = re.compile(r'"<deep (\d+)>"')


def written(content: object) -> str:
    """Write JSON in ASCII, as many clients and engines do, with all the depth that was drawn."""
    return _DEEP.sub(lambda mark: "[" * int(mark[1]) + "]" * int(mark[1]), json.dumps(content))


class Draw:
    """Reads *data* from its beginning. When it is used up, every draw gives the first of its choices."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to draw from."""
        return self._place >= len(self._data)

    def byte(self) -> int:
        """Give the next byte."""
        if self.is_empty:
            return 0
        self._place += 1
        return self._data[self._place - 1]

    def flag(self) -> bool:
        """Give yes or no."""
        return self.byte() % 2 == 1

    def rarely(self) -> bool:
        """Give yes one time in sixteen."""
        return self.byte() % 16 == 15

    def one_of(self, choices: Sequence[T]) -> T:
        """Give one of at most 256 choices."""
        return choices[self.byte() % len(choices)]

    def whole(self, below: int) -> int:
        """Give a whole number from 0 on, of as many bytes as it takes."""
        drawn = 0
        for _ in range((below.bit_length() + 7) // 8):
            drawn = drawn << 8 | self.byte()
        return drawn % below

    def number(self) -> int | float:
        """Give a number as JSON may hold it: a small one, one at some limit, or a fraction."""
        match self.byte() % 4:
            case 0:
                return self.byte()
            case 1:
                return self.one_of(NUMBERS)
            case 2:
                return (self.whole(2**16) - 2**15) / 128
            case _:
                return self.one_of((10**30, -(10**30), 1e300, -1e300, 5e-324, -0.0, 1.0))

    def text(self) -> str:
        """Give a text of valid Unicode, in which odd signs are not rare."""
        return "".join(self._sign() for _ in range(self.byte() % TEXT_SIGNS_MAX))

    def rest(self) -> bytes:
        """Give all bytes that are left, as they are."""
        left, self._place = self._data[self._place :], len(self._data)
        return left

    def many(self, make: Callable[[], T], most: int = LIST_MAX) -> list[T]:
        """Give up to *most* of what *make* makes."""
        return [make() for _ in range(self.byte() % (most + 1))]

    def json(self, depth: int = 0) -> object:
        """Give what JSON can hold, and marks for what is nested deep, in the place of which `written` puts just that."""
        match self.byte() % (6 if depth < JSON_DEPTH_MAX else 4):
            case 0:
                return self.text()
            case 1:
                return self.number()
            case 2:
                return self.one_of((None, True, False, "\ud800"))
            case 3:
                return self._deep() if self.rarely() else self.one_of(([], {}, ""))
            case 4:
                return self.many(lambda: self.json(depth + 1), 3)
            case _:
                return self.object(depth + 1)

    def object(self, depth: int = 0) -> dict[str, object]:
        """Give a JSON object."""
        return dict(self.many(lambda: (self.text(), self.json(depth)), 3))

    def _deep(self) -> str:
        return f"<deep {self.one_of(DEPTHS) + self.byte() % 16}>"

    def _sign(self) -> str:
        drawn = self.byte()
        if drawn < 128:
            return chr(32 + drawn % 95)
        if drawn < 240:
            return ODD_SIGNS[drawn % len(ODD_SIGNS)]
        code = self.whole(0x110000)
        return chr(code) if not 0xD800 <= code < 0xE000 else "\ufffd"
