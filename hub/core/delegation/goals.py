"""What a goal is made of, as far as that shows without understanding it."""

from __future__ import annotations

import re
from typing import Final

_ITEM: Final = re.compile(r"^\s{0,8}(?:[-*•]|\(?\d{1,3}[.)]|\(?[a-z][.)])\s+(\S.*)$")
_CLAUSES: Final = re.compile(r";\s+|(?<=\?)\s+")
_NEEDS_OTHERS: Final = re.compile(
    r"^(?:(?:and |or )?then|compare|combine|merge|summari[sz]e (?:all|the above|these|them)"
    r"|based on (?:that|this|the)|using (?:that|this|the))\b",
    re.IGNORECASE,
)

_GATHERS: Final = re.compile(
    r"^(?:please )?(?:list|extract|collect|gather|quote|find (?:all|every|each)|name (?:all|every|each)|give (?:all|every|each))\b",
    re.IGNORECASE,
)

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


def gathers(goal: str) -> bool:
    """Whether what is found only has to be put together: `List all ...`."""
    return _GATHERS.match(goal.strip()) is not None


def _pieces(goal: str) -> list[str]:
    items = [match[1].strip() for line in goal.splitlines() if (match := _ITEM.match(line))]
    return items if len(items) > 1 else [part.strip() for part in _CLAUSES.split(goal) if part.strip()]
