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
from tests.fakes.real_hub import WAIT_S
from tests.gateway.conftest import a_gateway

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
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
    monkeypatch.setattr(listening, "TELL_S", round(WAIT_S))  # a machine that stands still cuts nothing off
    body = {"model": "tiny", **DIALECTS[path]}
    engine = FakeEngine(a_model(slots=2), script=["one ", Gate()])
    async with (
        AsyncExitStack() as spoke,  # which outlives the hub
        asyncio.TaskGroup() as group,
        httpx.AsyncClient(trust_env=False, timeout=WAIT_S) as client,
        a_gateway(tmp_path, GatewayConfig(port=0)) as gateway,
    ):
        await spoke.enter_async_context(gateway.spoke(engine))
        headers = {"authorization": f"Bearer {gateway.key}"}
        url = gateway.url + path
        begun = asyncio.Event()
        asked = [
            group.create_task(
                heard(client.stream("POST", url, json={**body, "stream": stream}, headers=headers), begun)
            )
            for stream in (True, False)
        ]
        await begun.wait()
        await gateway.hub.has_spoke(lambda spoke: spoke.busy == len(asked))
    (stream_status, streamed), (status, whole) = [task.result() for task in asked]
    last = [line for line in streamed.splitlines() if WHY in line][-1]
    assert WHY in json.dumps(json.loads(last.removeprefix("data: ")))
    assert WHY in whole
    assert json.loads(whole)["error"]
    assert (stream_status, status >= 500) == (200, True)


async def heard(asking: AbstractAsyncContextManager[httpx.Response], begun: asyncio.Event) -> tuple[int, str]:
    """Read a response to its end, and give its status and text; set *begun* when the first of it is there."""
    text = ""
    async with asking as response:
        async for more in response.aiter_text():
            text += more
            begun.set()
        return response.status_code, text
