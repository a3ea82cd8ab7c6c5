"""Whether what an answer quotes stands in the text that it had."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from hub.core.delegation.prompts import NOT_FOUND

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

QUOTED_CHARS_MIN: Final = 3
"""Shorter ones are words that are spoken of, not passages."""

EVIDENCE_CHARS: Final = 120
"""Of the source on either side of a quote, for who judges it."""

QUOTES_MAX: Final = 100
"""More in one answer are not looked at."""

_QUOTED: Final = re.compile('"([^"\n]+)"|“([^”\n]+)”|„([^“”\n]+)[“”]|«([^»\n]+)»')
_ALIKE: Final = str.maketrans(
    {"\u2019": "'", "\u2018": "'", "“": '"', "”": '"', "„": '"', "\u2013": "-", "\u2014": "-", "\u00a0": " "}
)


def is_not_found(output: str) -> bool:
    """Whether *output* says that its source does not hold the answer: in those words, as JSON or not."""
    value = _json(output)
    if isinstance(value, dict):
        return bool(value) and all(map(_is_nothing, value.values()))
    return _is_nothing(output) and bool(output.strip())


def _is_nothing(value: object) -> bool:
    if isinstance(value, str):
        return value.strip("\"'.!` \n").casefold() in {"", NOT_FOUND}
    return value is None or value == []


def quotes(output: str) -> tuple[str, ...]:
    """Give the passages that *output* quotes: all text of the fields `quote` and `quotes` of JSON, or what is in quotation marks."""
    value = _json(output)
    if value is None:
        found: Iterable[str] = (next(filter(None, match.groups())) for match in _QUOTED.finditer(output))
    else:
        found = _quoted_in(value)
    return tuple(one for one in found if len(one.strip()) >= QUOTED_CHARS_MIN)[:QUOTES_MAX]


def _quoted_in(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _strings(one) if name in {"quote", "quotes"} else _quoted_in(one)
    elif isinstance(value, list):
        for one in value:
            yield from _quoted_in(one)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (one for one in value if isinstance(one, str))


def missing(output: str, sources: Iterable[str]) -> tuple[str, ...]:
    """Give the quotes of *output* that occur in none of *sources*, whatever the blanks, marks and capitals."""
    quoted = quotes(output)
    plain = [_plain(source) for source in sources] if quoted else []
    return tuple(quote for quote in quoted if not any(_plain(quote) in source for source in plain))


def evidence(output: str, sources: Iterable[str], chars_max: int) -> tuple[str, ...]:
    """Give what stands around each quote of *output* in *sources*, of *chars_max* characters in all."""
    quoted = quotes(output)
    texts = [(spaced, _plain(spaced)) for spaced in map(_spaced, sources)] if quoted else []
    found: dict[str, None] = {}
    left = chars_max
    for quote in quoted:
        passage = _around(_plain(quote), texts)[:left]
        if passage and passage not in found:
            found[passage] = None
            left -= len(passage)
    return tuple(found)


def _around(quote: str, texts: Iterable[tuple[str, str]]) -> str:
    """Give *quote* with its surroundings, as the first of *texts* that has it writes them; "" when none has."""
    for spaced, plain in texts:
        place = plain.find(quote)
        if place >= 0:
            return spaced[max(place - EVIDENCE_CHARS, 0) : place + len(quote) + EVIDENCE_CHARS]
    return ""


def _json(text: str) -> dict[str, object] | list[object] | None:
    """Read *text* if it is an object or a list."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        value: dict[str, object] | list[object] = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _plain(text: str) -> str:
    """Write *text* without what a model changes when it copies: as long as when it is only spaced."""
    spaced = _spaced(text.translate(_ALIKE))
    small = spaced.lower()
    if len(small) == len(spaced):
        return small
    # A few letters become two when they are small: those stay as they are.
    return "".join(one if len(one) == 1 else sign for sign in spaced for one in (sign.lower(),))
