"""Try many inputs on everything that reads what strangers send about identity: `python -m tools.parsers 1000000 [SEED]`.

The inputs are made of a seed, so a run can be had again; without one it is a new one each time, and printed. `just fuzz`
looks for inputs cleverly; this tries a fixed number of them everywhere.
"""

from __future__ import annotations

import random
import sys
import time
from typing import TYPE_CHECKING, Final

from tests.fuzz.identity import TARGETS
from tools.fuzz import fails, least

if TYPE_CHECKING:
    from collections.abc import Callable

INPUT_BYTES_MAX: Final = 64


def main() -> None:
    """Share the inputs among the targets; end with 1 when one of them fails."""
    inputs = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(2**32)
    began = time.monotonic()
    each = -(-inputs // len(TARGETS))
    failed = [name for name, target in TARGETS.items() if not held(name, target, each, seed)]
    print(f"parsers: {each * len(TARGETS):,} inputs in {time.monotonic() - began:.0f} s, seed {seed}")
    sys.exit(f"parsers: {', '.join(failed)} failed" if failed else 0)


def held(name: str, target: Callable[[bytes], None], inputs: int, seed: int) -> bool:
    """Try *inputs* on one target; print the first that fails, as short as it still does."""
    chance = random.Random(f"{name} {seed}")
    began = time.monotonic()
    for number in range(inputs):
        data = chance.randbytes(chance.randrange(1, INPUT_BYTES_MAX))
        try:
            if fails(target, data):
                print(f"parsers: {name} fails at input {number} with {least(target, data)!r}")
                return False
        except BaseException:
            print(f"parsers: {name} fails at input {number} with {data!r}")
            raise
    print(f"parsers: {name} held {inputs:,} inputs, {(time.monotonic() - began) / inputs * 1e6:.0f} us each")
    return True


if __name__ == "__main__":
    main()
