"""Clients of other vendors, as they are, against a real hub with its gateway: nothing of theirs is changed for us."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.clients import trials
from tests.clients.families import words_of
from tests.clients.roster import wanted

if TYPE_CHECKING:
    from tests.clients.roster import Client
    from tests.clients.trials import Ground, Result

pytestmark = [pytest.mark.clients, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def told() -> dict[str, dict[str, Result]]:
    """Keep what came of each client: it is tried once, and every test of it looks there."""
    return {}


@pytest.mark.parametrize(
    ("client", "feature"),
    [
        pytest.param(client, feature, id=f"{client.id}-{feature}")
        for client in wanted()
        for feature in client.features
    ],
)
async def test_a_client_works(
    ground: Ground, told: dict[str, dict[str, Result]], client: Client, feature: str
) -> None:
    if client.id not in told:
        told[client.id] = await trials.tried(ground, client, words_of(client))
    result = told[client.id][feature]
    assert result.ok, result.detail
