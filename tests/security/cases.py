"""What an attacker tries: every case by its number, with the layer that is to refuse it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.security.yard import Yard

    Attack: TypeAlias = Callable[[Yard], Awaitable[str]]

NUMBERS = range(1, 66)
"""The cases that there have to be."""

LEAKS = re.compile(r"Traceback|<class|\.py\b|Unexpected|PRIVATE KEY|BEGIN CERT|/tmp/|hs1\.[0-9a-f]{12}\.")
"""What no refusal may hold: a defect, a path, a key, a token."""


@unique
class Layer(StrEnum):
    """Who it is that refuses."""

    HUB_TLS = "hub's TLS"
    NODE_TLS = "node's TLS"
    IDENTITY = "identity check"
    ACCESS = "access table"
    ENROL = "enrolment"
    LIMIT = "limit"
    LIVE = "live calls"
    NODE = "node itself"
    HUB = "hub itself"
    ROTATION = "rotation"
    AUDIT = "audit"


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that must not work. *attack* tries it, asserts the refusal, and gives what the peer saw."""

    number: int
    what: str
    layer: Layer
    attack: Attack


CASES: dict[int, Case] = {}


def case(number: int, what: str, layer: Layer) -> Callable[[Attack], Attack]:
    """Enter an attack into the table."""

    def enter(attack: Attack) -> Attack:
        assert number not in CASES, f"case {number} is there twice"
        CASES[number] = Case(number, what, layer, attack)
        return attack

    return enter
