"""One hub on a state directory, and what is said where a hub cannot even find that out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hub.store.ownership import owned
from hubspoke.errors import InvalidRequest, StoreFailed

if TYPE_CHECKING:
    from pathlib import Path


async def test_one_hub_alone_has_a_directory_until_it_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "hub.lock"
    async with owned(path):
        with pytest.raises(InvalidRequest, match="another hub"):
            async with owned(path):
                pass
    async with owned(path):
        pass


async def test_a_directory_that_cannot_be_written_is_not_taken_for_another_hub(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match=r"hub\.lock cannot be locked .* write in that directory"):
        async with owned(tmp_path / "away" / "hub.lock"):
            pass
