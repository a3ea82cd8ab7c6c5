"""What a goal is made of, as far as that shows without understanding it."""

from __future__ import annotations

import re
from typing import Final

from hub.core.estimator import OUTPUT_TOKENS

_ITEM: Final = re.compile(r"^\s{0,8}(?:[-*•]|\(?\d{1,3}[.)]|\(?[a-z][.)])\s+(\S.*)$")
_CLAUSES: Final = re.compile(r";\s+|(?<=\?)\s+")
_NEEDS_OTHERS: Final = re.compile(
    r"^(?:(?:and|or|then)\b|compare|combine|merge|summari[sz]e (?:all|the above|these|them)"
    r"|based on (?:that|this|the)|using (?:that|this|the))\b",
    re.IGNORECASE,
)

_GATHERS: Final = re.compile(
    r"^(?:please )?(?:list|extract|collect|gather|quote|find (?:all|every|each)|name (?:all|every|each)|give (?:all|every|each))\b",
    re.IGNORECASE,
)

_LENGTH: Final = re.compile(
    r"\b(\d{1,5}|an?|one|two|three|four|five)[ -](word|sentence|line|bullet point|paragraph|page)s?\b",
    re.IGNORECASE,
)
_WRITES: Final = re.compile(
    r"\b(?:analy[sz]e|argue|compose|describe|discuss|draft|essay|explain|list|outline|poem|report|rewrite|story|"
    r"summar(?:y|i[sz]e)|translate|write)\b",
    re.IGNORECASE,
)
_NUMBERS: Final = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
_TOKENS: Final = {
    "word": 1.4,
    "sentence": 25.0,
    "line": 15.0,
    "bullet point": 25.0,
    "paragraph": 120.0,
    "page": 600.0,
}

SHORT_ANSWER_TOKENS: Final = 40
"""Of an answer to a plain question: a sentence or two."""

ANSWER_TOKENS_MAX: Final = 4_000
"""However long an answer is wanted, it is not reckoned to be longer."""

GOAL_PARTS_MAX: Final = 64
"""More parts than that are not counted."""


def parts(goal: str) -> tuple[str, ...]:
    """Give the parts of *goal* that can be worked on side by side: items of a list, questions, clauses between semicolons.

    A goal without any is its own only part. What refers to the others is no part of its own: it is what follows them.
    """
    independent = [part for part in _pieces(goal) if not _NEEDS_OTHERS.match(part)]
    return tuple(independent[:GOAL_PARTS_MAX]) if len(independent) > 1 else (goal.strip(),)


def has_sequel(goal: str) -> bool:
    """Whether *goal* has something done with the results of its parts."""
    pieces = _pieces(goal)
    return len(pieces) > 1 and any(map(_NEEDS_OTHERS.match, pieces))


def answer_tokens(part: str) -> int:
    """Guess the tokens of the answer to *part*: as long as it says, a page's half where something is to be written."""
    wanted = [_NUMBERS.get(match[1].lower(), 0) or int(match[1]) for match in _LENGTH.finditer(part)]
    units = [match[2].lower() for match in _LENGTH.finditer(part)]
    if wanted:
        longest = max(number * _TOKENS[unit] for number, unit in zip(wanted, units, strict=True))
        return min(max(round(longest), 1), ANSWER_TOKENS_MAX)
    return OUTPUT_TOKENS if _WRITES.search(part) else SHORT_ANSWER_TOKENS


def gathers(goal: str) -> bool:
    """Whether what is found only has to be put together: `List all ...`."""
    return _GATHERS.match(goal.strip()) is not None


def _pieces(goal: str) -> list[str]:
    items = [match[1].strip() for line in goal.splitlines() if (match := _ITEM.match(line))]
    return items if len(items) > 1 else [part.strip() for part in _CLAUSES.split(goal) if part.strip()]
