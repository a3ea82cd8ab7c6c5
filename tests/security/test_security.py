"""Every attack of the table against one running mesh. `just security` prints the table."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from hub.config import GatewayConfig
from hubspoke.clock import SystemClock
from hubspoke.logs import JsonFormatter
from tests.gateway.conftest import a_gateway
from tests.security import table
from tests.security.attacks import (  # noqa: F401  # they enter their cases into the table
    certificates,
    floods,
    joining,
    machines,
    records,
    renewing,
    rotating,
    sessions,
)
from tests.security.cases import CASES, LEAKS, NUMBERS
from tests.security.yard import Yard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def yard(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Yard]:
    directory = tmp_path_factory.mktemp("yard")
    # By the machine's own clock, as some certificates live for seconds.
    async with a_gateway(directory, GatewayConfig(port=0), clock=SystemClock()) as gateway:
        yard = Yard(gateway.hub, gateway.url)
        listening = Listening(yard.logged)
        root = logging.getLogger()
        level = root.level
        root.addHandler(listening)
        root.setLevel(logging.DEBUG)
        try:
            yield yard
        finally:
            root.setLevel(level)
            root.removeHandler(listening)


class Listening(logging.Handler):
    """Keeps every line that a hub or a spoke would log, as it would be written."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def test_no_case_is_missing() -> None:
    assert sorted(CASES) == list(NUMBERS)


@pytest.mark.timeout(150)  # two of them start many processes
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("number", sorted(CASES))
async def test_it_is_refused(yard: Yard, number: int) -> None:
    attempt = CASES[number]
    began_at = time.perf_counter()
    saw = await attempt.attack(yard)
    took_ms = (time.perf_counter() - began_at) * 1_000
    assert not LEAKS.search(saw), saw
    await yard.is_well()
    table.keep(attempt, saw, took_ms)
