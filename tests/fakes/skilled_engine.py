"""An engine with the skills of the shipped model `tiny`, and one model beside it whose answers have no end."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from hubspoke.types import Calling, Capability, Delta, Finished, Speaker, ToolCallPart
from tests.fakes.engine import FakeEngine, Gate, a_model

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from hubspoke.types import Request, Tool
    from tests.fakes.engine import Step

SKILLED = "skilled"
ENDLESS = "endless"
CAPABLE = frozenset(Capability) - {Capability.VISION, Capability.THINKING}


class SkilledEngine(FakeEngine):
    """Calls the tools that it is asked to call, tells what they return, and keeps to every schema."""

    def __init__(self, slots: int) -> None:
        super().__init__(
            a_model(SKILLED, slots=slots, capabilities=CAPABLE, digest="sha256:" + "b" * 64),
            a_model(ENDLESS, slots=slots, digest="sha256:" + "c" * 64),
        )

    async def generate(self, model: str, request: Request) -> AsyncGenerator[Delta | Finished, None]:
        self.script = ("one ", Gate()) if model == ENDLESS else tuple(answer(request))
        async with aclosing(super().generate(model, request)) as events:
            async for event in events:
                yield event


def answer(request: Request) -> Sequence[Step]:
    """Give what the model says to *request*."""
    last = request.messages[-1]
    if request.format is not None:
        schema = json.loads(request.format.schema or "{}")
        # Any object: what `tiny` says to `json abc 7`.
        return (json.dumps(example(schema, schema) if schema else {"name": "abc", "n": 7}),)
    if last.speaker is Speaker.TOOL:
        return ("It is ", f"{last.text}.")
    tool = called(request)
    if tool is None:
        return ("I have ", "no tools.")
    schema = json.loads(tool.parameters or "{}")
    given = list(request.messages[-1].text.partition(" with ")[2].split(" and "))
    names = list(schema.get("properties", {}))
    values = example(schema, schema)
    if last.text.startswith("call "):
        values = dict(zip(names, given, strict=False))
    head, rest = ToolCallPart(0, "call_1", tool.name), ToolCallPart(0, arguments=json.dumps(values))
    return Delta(tool_calls=(head,)), Delta(tool_calls=(rest,))


def called(request: Request) -> Tool | None:
    """Give the tool that the last message asks for, or one that has to be called."""
    text = request.messages[-1].text
    for tool in request.tools:
        if text.startswith(f"call {tool.name}") or request.tool_choice.name == tool.name:
            return tool
    is_required = request.tool_choice.mode is Calling.REQUIRED
    return request.tools[0] if is_required and request.tools else None


def example(schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """Give a value that *schema* allows; *root* is what its references lead into."""
    if "$ref" in schema:
        found: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return example(found, root)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object")
    if kind == "object":
        return {name: example(inner, root) for name, inner in schema.get("properties", {}).items()}
    if kind == "array":
        return [example(schema.get("items", {}), root)]
    return {"integer": 7, "number": 7, "boolean": True}.get(kind, "abc")
