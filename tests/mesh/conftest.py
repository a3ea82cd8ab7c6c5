"""A real hub for the tests beside this file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.real_hub import RealHub, real_hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


PATIENCE_S = 600.0


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no spoke be silent or lost for its silence alone: a scripted one beats when a test says so, however slow the machine."""
    for limit in ("SILENCE_S", "LEASE_S"):
        monkeypatch.setattr(f"hub.core.registry.{limit}", PATIENCE_S)


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RealHub]:
    async with real_hub(tmp_path) as running:
        yield running
