"""What engines say in these tests, and how a stream of named events is read."""

from __future__ import annotations

import base64
import json

from hubspoke.types import Capability, Delta, Finished, FinishReason, ToolCallPart, Usage
from tests.fakes.engine import FakeEngine, Step, a_model

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
