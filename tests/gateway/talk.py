"""What engines say in these tests, how a stream of named events is read, and what is heard of one that breaks off."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING

from hubspoke.types import Capability, Delta, Finished, FinishReason, ToolCallPart, Usage
from tests.fakes.engine import FakeEngine, Step, a_model
from tests.fakes.real_hub import WAIT_S

if TYPE_CHECKING:
    from tests.fakes.real_hub import ScriptedSpoke
    from tests.gateway.conftest import Gateway

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 16).decode()
ABLE = frozenset({
    Capability.CHAT,
    Capability.TOOLS,
    Capability.TOOL_CHOICE,
    Capability.VISION,
    Capability.THINKING,
    Capability.JSON_SCHEMA,
    Capability.SAMPLING,
})  # fmt: skip

CALLS = (
    Delta(thinking="hm"),
    Delta("I look."),
    Delta(tool_calls=(ToolCallPart(0, "call_a", "weather", '{"city":'),)),
    Delta(tool_calls=(ToolCallPart(0, arguments='"Rome"}'),)),
    Delta(tool_calls=(ToolCallPart(1, "", "weather", "{}"),)),
    Finished(FinishReason.TOOL_CALLS, Usage(prompt_tokens=30, output_tokens=9, cached_tokens=20)),
)


def able_engine(*script: Step) -> FakeEngine:
    """An engine whose model can do everything."""
    return FakeEngine(a_model(capabilities=ABLE), script=script or ("Hello", " world"))


async def lost_midway(gateway: Gateway, path: str, body: object) -> str:
    """Ask for a stream of a spoke that is lost once its first word has been heard; give all that is heard."""
    heard = ""
    async with (
        gateway.hub.spoke("den", slots=1) as spoke,
        asyncio.timeout(WAIT_S),
        asyncio.TaskGroup() as group,
    ):
        group.create_task(_begin(spoke))
        async with gateway.http.stream("POST", path, json=body) as response:
            is_lost = False
            async for text in response.aiter_text():
                heard += text
                if "Hel" in heard and not is_lost:
                    is_lost = True
                    await spoke.channel.close()
    return heard


async def _begin(spoke: ScriptedSpoke) -> None:
    (slot,) = spoke.slots
    await slot.delta((await slot.assignment()).attempt, "Hel")


def events(text: str) -> list[tuple[str, dict[str, object]]]:
    """Read the events of a stream; every one has to be named as its payload says."""
    read = []
    for event in text.split("\n\n"):
        lines = [line for line in event.splitlines() if not line.startswith(":")]
        if lines:
            name, payload = lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))
            assert payload["type"] == name
            read.append((name, payload))
    return read
