"""What can be found wrong with an output without asking anybody: it costs nothing, so it comes before every review.

That an output keeps to its format is checked on the spoke, where it is made (docs/decisions/0011).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hub.core.delegation.quotes import is_not_found, missing
from hub.core.delegation.sums import wrong_sums
from hubspoke.types import Check

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

TOLD_CHARS_MAX: Final = 120
"""Of a passage that is found wrong."""


def fault(checks: Sequence[Check], output: str, sources: Sequence[str]) -> str:
    """Say what is wrong with *output*, in words that it can be mended by; "" when nothing is.

    An answer that nothing was found is right as it is, unless something has to be.
    """
    if not output.strip():
        return "the answer is empty"
    if is_not_found(output):
        return "something has to be found" if Check.FOUND in checks else ""
    return next((said for check in checks if (said := _FAULTS[check](output, sources))), "")


def _quote(output: str, sources: Sequence[str]) -> str:
    wrong = missing(output, sources)
    return f"what it quotes does not stand in the text: {wrong[0][:TOLD_CHARS_MAX]!r}" if wrong else ""


def _arithmetic(output: str, sources: Sequence[str]) -> str:
    del sources
    wrong = wrong_sums(output)
    return f"a sum does not come out: {wrong[0][:TOLD_CHARS_MAX]}" if wrong else ""


def _found(output: str, sources: Sequence[str]) -> str:
    del output, sources
    return ""


_FAULTS: Final[Mapping[Check, Callable[[str, Sequence[str]], str]]] = {
    Check.QUOTE: _quote,
    Check.ARITHMETIC: _arithmetic,
    Check.FOUND: _found,
}
