"""What is written down of what a key has used."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hubspoke.admin import AdminClient
from hubspoke.types import Delta, KeyPlan
from tests.fakes.engine import FakeEngine, Gate, a_model
from tests.fakes.real_hub import WAIT_S

if TYPE_CHECKING:
    from hubspoke.types import KeyUsage
    from tests.gateway.conftest import Gateway

ASK = {"model": "tiny", "messages": [{"role": "user", "content": "hello, how are you?"}]}
CHAT = "/v1/chat/completions"


async def used(gateway: Gateway, name: str) -> tuple[KeyUsage, ...]:
    """Give what key *name* has used."""
    async with AdminClient(gateway.hub.admin.directory) as admin:
        (info,) = [key for key in await admin.keys() if key.plan.name == name]
    return info.usage


async def test_who_leaves_early_pays_for_all_tokens_that_were_made_and_for_the_prompt(
    gateway: Gateway,
) -> None:
    key = await gateway.new_key(KeyPlan("leaver"))
    engine = FakeEngine(a_model(), script=[Delta("one two three ", tokens=20), Gate()])
    headers = {"authorization": f"Bearer {key}"}
    async with gateway.spoke(engine), asyncio.timeout(WAIT_S):
        asked = {**ASK, "stream": True}
        async with gateway.http.stream("POST", CHAT, json=asked, headers=headers) as response:
            async for line in response.aiter_lines():
                if "one two three" in line:
                    break
        await engine.closed.acquire()
        while not (usage := await used(gateway, "leaver")):
            pass
    assert (usage[0].requests, usage[0].output_tokens) == (1, 20)
    assert usage[0].prompt_tokens == len("hello, how are you?") // 4 + 1


async def test_a_model_is_metered_once_by_whatever_names_it_is_asked(gateway: Gateway) -> None:
    key = await gateway.new_key(KeyPlan("many"))
    headers = {"authorization": f"Bearer {key}"}
    async with gateway.spoke(FakeEngine(a_model())):
        for name in ("tiny", "tiny:latest", "gpt-4o-mini", "auto", "sha256:" + "a" * 64):
            response = await gateway.http.post(CHAT, json={**ASK, "model": name}, headers=headers)
            assert response.status_code == 200, name
    (usage,) = await used(gateway, "many")
    assert (usage.model, usage.requests) == ("tiny", 5)
