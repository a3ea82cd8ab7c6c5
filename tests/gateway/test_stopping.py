"""A hub that stops: no answer breaks off without a word."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import httpx
import pytest

from hub.config import GatewayConfig
from hub.gateway import listening
from tests.fakes.engine import FakeEngine, Gate, a_model
from tests.gateway.conftest import a_gateway

if TYPE_CHECKING:
    from pathlib import Path

TURNS = [{"role": "user", "content": "hello"}]
WHY = "the hub is stopping; ask again when it is back"

DIALECTS = {
    "/v1/chat/completions": {"messages": TURNS},
    "/v1/completions": {"prompt": "hello"},
    "/v1/responses": {"input": "hello"},
    "/v1/messages": {"messages": TURNS, "max_tokens": 10},
    "/api/chat": {"messages": TURNS},
    "/api/generate": {"prompt": "hello"},
}


@pytest.mark.parametrize("path", DIALECTS)
async def test_what_is_under_way_ends_with_an_error_of_its_dialect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(listening, "STOP_GRACE_S", 0.1)
    body = {"model": "tiny", **DIALECTS[path]}
    engine = FakeEngine(a_model(slots=2), script=["one ", gate := Gate()])
    async with (
        AsyncExitStack() as spoke,  # which outlives the hub
        asyncio.TaskGroup() as group,
        httpx.AsyncClient(trust_env=False) as client,
        a_gateway(tmp_path, GatewayConfig(port=0)) as gateway,
    ):
        await spoke.enter_async_context(gateway.spoke(engine))
        headers = {"authorization": f"Bearer {gateway.key}"}
        url = gateway.url + path
        asked = [
            group.create_task(client.post(url, json={**body, "stream": stream}, headers=headers))
            for stream in (True, False)
        ]
        await gate.reached.wait()
        await gateway.hub.has_spoke(lambda spoke: spoke.busy == len(asked))
    streamed, whole = [task.result() for task in asked]
    last = [line for line in streamed.text.splitlines() if WHY in line][-1]
    assert WHY in json.dumps(json.loads(last.removeprefix("data: ")))
    assert WHY in whole.text
    assert whole.json()["error"]
    assert (streamed.status_code, whole.status_code >= 500) == (200, True)
