"""Whether the sums in a text come out."""

from __future__ import annotations

import re
from decimal import Decimal, DivisionByZero, InvalidOperation
from typing import Final

EQUATIONS_MAX: Final = 100
"""More in one answer are not looked at."""

_NUMBER: Final = r"-?\d{1,15}(?:\.\d{1,10})?"
_EQUATION: Final = re.compile(
    rf"(?<![\d.,)%^])({_NUMBER}(?:\s?[-+*/x\u00d7·÷]\s?{_NUMBER}){{1,12}})\s?=\s?({_NUMBER})(?!\d|[.,]\d|\s?[-+*/x\u00d7·÷%^(])"
)
_FIRST: Final = re.compile(_NUMBER)
_NEXT: Final = re.compile(rf"\s?([-+*/x\u00d7·÷])\s?({_NUMBER})")
_TIMES: Final = frozenset("*x\u00d7·")
_OVER: Final = frozenset("/÷")


def wrong_sums(text: str) -> tuple[str, ...]:
    """Give each equation in *text*, such as `2 * 3 + 4 = 11`, that is wrong by more than its result is rounded."""
    found = list(_EQUATION.finditer(text))[:EQUATIONS_MAX]
    return tuple(match[0] for match in found if not _holds(match[1], match[2]))


def _holds(left: str, right: str) -> bool:
    result = Decimal(right)
    step = Decimal(1).scaleb(int(result.as_tuple().exponent))
    try:
        return abs(_value(left) - result) <= step / 2
    except (DivisionByZero, InvalidOperation):
        return False


def _value(expression: str) -> Decimal:
    """Reckon with products before sums."""
    first = _FIRST.match(expression)
    if first is None:
        raise InvalidOperation(expression)
    total, product, place = Decimal(0), Decimal(first[0]), first.end()
    while term := _NEXT.match(expression, place):
        operator, number, place = term[1], Decimal(term[2]), term.end()
        if operator in _TIMES:
            product *= number
        elif operator in _OVER:
            product /= number
        else:
            total, product = total + product, -number if operator == "-" else number
    return total + product
