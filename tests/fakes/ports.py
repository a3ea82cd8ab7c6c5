"""Ports for servers that come and go while others look for ports too."""

from __future__ import annotations

import os
import re
import socket
from itertools import count
from typing import Final

FIRST: Final = 20_000
BAND: Final = 1_500
"""How many ports each of pytest's workers has."""
BANDS: Final = 8
"""They end below what Linux, macOS and Windows give to whoever asks for just any port: no such one is ever among them."""

_steps = count(os.getpid())  # two runs side by side begin in different places


def free_ports(number: int) -> tuple[int, ...]:
    """Find ports that nobody listens on now, and that nobody else gets while a server on them is down."""
    found: list[int] = []
    for _ in range(BAND):
        if len(found) == number:
            return tuple(found)
        port = FIRST + _band() * BAND + next(_steps) % BAND
        if _is_free(port):
            found.append(port)
    raise AssertionError(f"no {number} free ports of {BAND}")


def _band() -> int:
    worker = re.search(r"\d+$", os.environ.get("PYTEST_XDIST_WORKER", ""))
    return int(worker[0]) % BANDS if worker else 0


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
