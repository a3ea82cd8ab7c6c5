"""Python functions that models call, over real mutual TLS."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum
from typing import Annotated

import msgspec
import pytest

from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.client import MeshClient
from hubspoke.sync import SyncMesh
from hubspoke.tools import Called, answer_with_tools, run_with_tools, tool
from hubspoke.types import Calling, Finished, Message, Request, Speaker, ToolChoice
from pki.files import NodeFiles
from tests.fakes.hub import FakeHub, MeshOnDisk, answer, serve_mesh

ASK = Request("tiny", messages=(Message(Speaker.USER, "add 17 5"),))


class Unit(Enum):
    CELSIUS = "celsius"
    KELVIN = "kelvin"


@dataclass
class Point:
    x: int
    y: int = 0


def add(a: int, b: Annotated[int, msgspec.Meta(description="What is added")] = 1) -> int:
    """Add two numbers."""
    return a + b


async def distance(to: Point) -> dict[str, int]:
    """Say how far it is."""
    await asyncio.sleep(0)
    return {"distance": to.x + to.y}


def heat(unit: Unit) -> str:
    return unit.value


def unnamed(*values: int) -> int:
    return sum(values)


def breaks() -> str:
    raise LookupError("nothing there")


def calls(*wanted: tuple[str, str]) -> Iterator[pb.InferResponse]:
    """Call tools, each by its name and with these arguments."""
    yield pb.InferResponse(started=pb.Started(spoke="den", model="tiny", model_key="sha256:aa", attempt=1))
    for index, (name, arguments) in enumerate(wanted):
        part = pb.ToolCallPart(index=index, id=f"call-{index}", name=name, arguments=arguments)
        yield pb.InferResponse(delta=pb.Delta(tool_calls=[part]))
    yield pb.InferResponse(finished=pb.Finished(reason=4))


def calls_once(name: str, arguments: str):
    """Call a tool in the first round, and answer in the second."""

    def script(request: pb.InferRequest, _hub: FakeHub) -> Iterator[pb.InferResponse]:
        is_first = len(request.conversation.messages) == 1
        yield from calls((name, arguments)) if is_first else answer("Done")

    return script


async def called(mesh: MeshOnDisk, app: NodeFiles, function, arguments: str, name: str = "") -> Called:
    """Let a model call *function* once."""
    hub = FakeHub(mesh.hub, calls_once(name or function.__name__, arguments))
    with serve_mesh(hub) as address:
        async with MeshClient(app.directory, [address]) as client:
            events = [event async for event in run_with_tools(client, ASK, [function])]
    (made,) = [event for event in events if isinstance(event, Called)]
    assert hub.asked[1].conversation.messages[-1].text == made.result
    return made


def test_a_function_becomes_a_tool():
    made = tool(add)
    assert (made.name, made.description) == ("add", "Add two numbers.")
    assert json.loads(made.parameters) == {
        "title": "add",
        "type": "object",
        "properties": {
            "a": {"type": "integer"},
            "b": {"type": "integer", "description": "What is added", "default": 1},
        },
        "required": ["a"],
        "additionalProperties": False,
    }


def test_types_of_a_programs_own_are_described_beside_it():
    schema = json.loads(tool(distance).parameters)
    assert schema["properties"] == {"to": {"$ref": "#/$defs/Point"}}
    assert schema["$defs"]["Point"]["required"] == ["x"]


@pytest.mark.parametrize("function", [lambda: "", lambda x: x, unnamed, len])
def test_what_cannot_be_described_is_refused(function):
    with pytest.raises(TypeError):
        tool(function)


async def test_no_function_hides_another_one_of_its_name(app):
    with pytest.raises(TypeError, match="same name"):
        await anext(run_with_tools(MeshClient(app.directory), ASK, [add, heat, add]))


@pytest.mark.parametrize(
    ("function", "arguments", "result"),
    [
        (add, '{"a": 17, "b": 5}', "22"),
        (add, '{"a": "17"}', "18"),
        (distance, '{"to": {"x": 2, "y": 3}}', '{"distance":5}'),
        (heat, '{"unit": "kelvin"}', "kelvin"),
    ],
)
async def test_a_function_is_called_with_what_the_model_says(mesh, app, function, arguments, result):
    assert (await called(mesh, app, function, arguments)).result == result


@pytest.mark.parametrize(
    ("function", "arguments", "told"),
    [
        (add, '{"a": "many"}', "Expected `int`"),
        (add, '{"a": 1, "c": 2}', "unknown field `c`"),
        (add, "{", "truncated"),
        (add, "[" * 100_000, "the arguments are wrong"),
        (heat, '{"unit": "rankine"}', "rankine"),
        (breaks, "", "LookupError: nothing there"),
    ],
)
async def test_what_goes_wrong_is_told_to_the_model(mesh, app, function, arguments, told):
    made = await called(mesh, app, function, arguments)
    assert made.failed
    assert told in made.result


async def test_a_tool_that_is_none_is_told_with_those_there_are(mesh, app):
    made = await called(mesh, app, add, "{}", name="sub tract")
    assert made.result == "Error: there is no tool 'sub tract'; there is add"


async def test_what_the_model_called_goes_back_to_it_as_the_hub_takes_it(mesh: MeshOnDisk, app: NodeFiles):
    def script(request: pb.InferRequest, _hub: FakeHub):
        is_first = len(request.conversation.messages) == 1
        yield from calls(("add", '{"a": 17, "b": 5}'), ("sub tract", "{")) if is_first else answer("22")

    hub = FakeHub(mesh.hub, script)
    with serve_mesh(hub) as address:
        async with MeshClient(app.directory, [address]) as client:
            whole = await answer_with_tools(client, ASK, [add])
    _, said, result, refused = hub.asked[1].conversation.messages
    assert whole.text == "22"
    assert [(call.name, call.arguments) for call in said.tool_calls] == [
        ("add", '{"a": 17, "b": 5}'),
        ("unknown", "{}"),
    ]
    assert (result.tool_name, result.tool_call_id, result.text) == ("add", "call-0", "22")
    assert (refused.tool_name, refused.tool_call_id) == ("unknown", "call-1")


async def test_a_model_that_never_stops_calling_has_to_answer_at_last(mesh: MeshOnDisk, app: NodeFiles):
    hub = FakeHub(mesh.hub, lambda _request, _hub: calls(("add", '{"a": 1}')))
    request = Request("tiny", ASK.messages, tool_choice=ToolChoice(Calling.REQUIRED))
    with serve_mesh(hub) as address:
        async with MeshClient(app.directory, [address]) as client:
            events = [event async for event in run_with_tools(client, request, [add], rounds_max=3)]
    modes = [pb.ToolChoice.Mode.Name(asked.tool_choice.mode) for asked in hub.asked]
    assert modes == ["MODE_REQUIRED", "MODE_AUTO", "MODE_NONE"]
    assert sum(isinstance(event, Called) for event in events) == 2
    assert isinstance(events[-1], Finished)


async def test_whoever_stops_listening_stops_the_work(mesh: MeshOnDisk, app: NodeFiles):
    hub = FakeHub(mesh.hub, calls_once("add", '{"a": 1}'))
    with serve_mesh(hub) as address:
        async with (
            MeshClient(app.directory, [address]) as client,
            aclosing(run_with_tools(client, ASK, [add])) as events,
        ):
            async for event in events:
                if isinstance(event, Called):
                    break
    assert len(hub.asked) == 1


def test_a_program_without_a_loop_has_tools_too(mesh: MeshOnDisk, app: NodeFiles):
    hub = FakeHub(mesh.hub, calls_once("add", '{"a": 17, "b": 5}'))
    with serve_mesh(hub) as address, SyncMesh(app.directory, [address]) as client:
        assert client.answer_with_tools(ASK, [add, distance]).text == "Done"
    assert [one.name for one in hub.asked[0].tools] == ["add", "distance"]
