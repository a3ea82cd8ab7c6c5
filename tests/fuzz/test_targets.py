"""The short share of the fuzzing that every run of the tests has: seeded, and the same each time."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.targets import TARGETS

INPUTS: int = 400
BYTES_MAX: int = 400


@pytest.mark.parametrize("name", TARGETS)
def test_no_bytes_are_too_much(name: str) -> None:
    chance = random.Random(name)
    for _ in range(INPUTS):
        TARGETS[name](chance.randbytes(chance.randint(0, BYTES_MAX)))
