"""A real hub for the tests beside this file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.real_hub import RealHub, real_hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RealHub]:
    async with real_hub(tmp_path) as running:
        yield running
