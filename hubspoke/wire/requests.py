"""What is asked: every field of a request from outside is checked here, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from google.protobuf.message import DecodeError

from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.errors import InvalidRequest
from hubspoke.schemas import fault_of
from hubspoke.types import Calling, EmbedRequest, JsonFormat, Priority, Request, Sampling, Tool, ToolChoice
from hubspoke.wire import enums, times
from hubspoke.wire.checks import named, schema, short
from hubspoke.wire.conversation import messages_from_wire, messages_to_wire
from hubspoke.wire.sendable import sendable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from hubspoke.types import Message

MODEL_BYTES_MAX: Final = 256
SESSION_KEY_BYTES_MAX: Final = 256
STOPS_MAX: Final = 16
STOP_BYTES_MAX: Final = 256
TOOLS_MAX: Final = 512
"""llama.cpp takes half a second to a second to read so many; agents with several MCP servers have more than 128."""
TOOL_DESCRIPTION_BYTES_MAX: Final = 64 * 1024
"""Claude Code describes some of its tools in more than 16 KiB."""
INPUTS_MAX: Final = 2_048
DIMENSIONS_MAX: Final = 65_536
TEMPERATURE_MAX: Final = 5.0
PENALTY_MAX: Final = 2.0
REPEAT_PENALTY_MAX: Final = 10.0


@sendable()
def request_to_wire(request: Request, deadline: datetime | None = None) -> pb.InferRequest:
    """Give a request as a message; raise InvalidRequest for text that no message can carry."""
    message = pb.InferRequest(
        model=request.model,
        sampling=_sampling_to_wire(request.sampling),
        max_output_tokens=request.max_output_tokens,
        stop=request.stop,
        priority=enums.PRIORITY.to_wire(request.priority),
        deadline=None if deadline is None else times.timestamp(deadline),
        session_key=request.session_key,
        tools=[
            pb.Tool(name=tool.name, description=tool.description, parameters=tool.parameters)
            for tool in request.tools
        ],
        tool_choice=_choice_to_wire(request),
        format=None if request.format is None else format_to_wire(request.format),
        thinking=pb.EFFORT_UNSPECIFIED
        if request.thinking is None
        else enums.EFFORT.to_wire(request.thinking),
    )
    if request.messages:
        message.conversation.messages.extend(messages_to_wire(request.messages))
    else:
        message.prompt = request.prompt
    return message


def request_from_bytes(body: bytes) -> tuple[Request, datetime | None]:
    """Check an encoded request and give it with its deadline; raise InvalidRequest that names the field."""
    try:
        return request_from_wire(pb.InferRequest.FromString(body))
    except DecodeError as error:
        raise InvalidRequest("the request is no InferRequest; encode it with the published protos") from error


def request_from_wire(message: pb.InferRequest) -> tuple[Request, datetime | None]:
    """Check a request and give it with its deadline; raise InvalidRequest that names the field."""
    model = _model(message.model)
    short("session_key", message.session_key, SESSION_KEY_BYTES_MAX)
    _check_stops(message.stop)
    is_prompt = message.WhichOneof("input") == "prompt"
    if is_prompt and (message.tools or message.thinking != pb.EFFORT_UNSPECIFIED):
        raise InvalidRequest("tools and thinking need a conversation; a raw prompt has neither")
    tools = tuple(_tools(message.tools))
    thinking = message.thinking
    request = Request(
        model=model,
        messages=() if is_prompt else _messages(message),
        prompt=_prompt(message) if is_prompt else "",
        sampling=_sampling_from_wire(message.sampling),
        max_output_tokens=message.max_output_tokens,
        stop=tuple(message.stop),
        priority=priority_from_wire(message.priority),
        session_key=message.session_key,
        tools=tools,
        tool_choice=_choice_from_wire(message, tools),
        format=format_from_wire(message.format) if message.HasField("format") else None,
        thinking=None if thinking == pb.EFFORT_UNSPECIFIED else enums.EFFORT.from_wire(thinking),
    )
    return request, times.moment(message.deadline, "deadline") if message.HasField("deadline") else None


@sendable()
def embed_to_wire(request: EmbedRequest, deadline: datetime | None = None) -> pb.EmbedRequest:
    """Give texts that are to become vectors as a message; raise InvalidRequest as `request_to_wire` does."""
    return pb.EmbedRequest(
        model=request.model,
        inputs=request.inputs,
        dimensions=request.dimensions,
        priority=enums.PRIORITY.to_wire(request.priority),
        deadline=None if deadline is None else times.timestamp(deadline),
    )


def embed_from_bytes(body: bytes) -> tuple[EmbedRequest, datetime | None]:
    """Check encoded texts and give them with their deadline; raise InvalidRequest that names the field."""
    try:
        message = pb.EmbedRequest.FromString(body)
    except DecodeError as error:
        raise InvalidRequest("the request is no EmbedRequest; encode it with the published protos") from error
    if not 1 <= len(message.inputs) <= INPUTS_MAX:
        raise InvalidRequest(f"inputs has {len(message.inputs)} texts; give 1 to {INPUTS_MAX}")
    if not all(message.inputs):
        raise InvalidRequest("inputs holds an empty text, which has no direction; leave it out")
    if message.dimensions > DIMENSIONS_MAX:
        raise InvalidRequest(f"dimensions is {message.dimensions}; at most {DIMENSIONS_MAX} make sense")
    request = EmbedRequest(
        model=_model(message.model),
        inputs=tuple(message.inputs),
        dimensions=message.dimensions,
        priority=priority_from_wire(message.priority),
    )
    return request, times.moment(message.deadline, "deadline") if message.HasField("deadline") else None


def _model(name: str) -> str:
    if not name:
        raise InvalidRequest("model is missing; `hubspoke models` lists what can be asked")
    return short("model", name, MODEL_BYTES_MAX)


def priority_from_wire(value: int) -> Priority:
    """Give which requests go first; unset is as interactive. Raise InvalidRequest for one of a newer version."""
    return Priority.INTERACTIVE if value == pb.PRIORITY_UNSPECIFIED else enums.PRIORITY.from_wire(value)


def _check_stops(stops: Iterable[str]) -> None:
    texts = list(stops)
    if len(texts) > STOPS_MAX:
        raise InvalidRequest(f"stop has {len(texts)} texts; at most {STOPS_MAX} are taken")
    for stop in texts:
        short("stop", stop, STOP_BYTES_MAX)
        if not stop:
            raise InvalidRequest("stop holds an empty text, which would end every answer at once")


def _prompt(message: pb.InferRequest) -> str:
    if not message.prompt:
        raise InvalidRequest("prompt is empty; give at least one byte to continue")
    return message.prompt


def _messages(message: pb.InferRequest) -> tuple[Message, ...]:
    if message.WhichOneof("input") is None:
        raise InvalidRequest("input is missing; give a conversation or a prompt")
    return messages_from_wire(message.conversation)


def _tools(tools: Iterable[pb.Tool]) -> list[Tool]:
    found: dict[str, Tool] = {}
    for tool in tools:
        name = named("tools.name", tool.name)
        if name in found:
            raise InvalidRequest(f"tools has two that are called {name!r}; give each its own name")
        found[name] = Tool(
            name,
            short("tools.description", tool.description, TOOL_DESCRIPTION_BYTES_MAX),
            schema("tools.parameters", tool.parameters) if tool.parameters else "",
        )
    if len(found) > TOOLS_MAX:
        raise InvalidRequest(f"tools has {len(found)} entries; at most {TOOLS_MAX} are taken")
    return list(found.values())


def _choice_to_wire(request: Request) -> pb.ToolChoice | None:
    choice = request.tool_choice
    if not request.tools and choice.mode is not Calling.REQUIRED:
        return None  # kept anyway; a call that is demanded is not, and the hub says so
    return pb.ToolChoice(mode=enums.CALLING.to_wire(choice.mode), name=choice.name, parallel=choice.parallel)


def _choice_from_wire(message: pb.InferRequest, tools: tuple[Tool, ...]) -> ToolChoice:
    if not message.HasField("tool_choice"):
        return ToolChoice()
    if not tools:
        raise InvalidRequest("tool_choice needs tools to choose from; give some, or leave it out")
    choice = message.tool_choice
    mode = Calling.AUTO
    if choice.mode != pb.ToolChoice.MODE_UNSPECIFIED:
        mode = enums.CALLING.from_wire(choice.mode)
    if choice.name and mode is not Calling.REQUIRED:
        raise InvalidRequest("tool_choice names a tool, which only REQUIRED does")
    if choice.name and choice.name not in {tool.name for tool in tools}:
        raise InvalidRequest(f"tool_choice names {choice.name!r}, which is not among the tools")
    return ToolChoice(mode, choice.name, choice.parallel if choice.HasField("parallel") else None)


def format_to_wire(wanted: JsonFormat) -> pb.OutputFormat:
    """Give what a text has to be as a message."""
    if wanted.schema:
        return pb.OutputFormat(json_schema=wanted.schema)
    return pb.OutputFormat(json_object=pb.JsonObject())


def format_from_wire(message: pb.OutputFormat) -> JsonFormat:
    """Check what a text has to be; raise InvalidRequest when that is nothing."""
    match message.WhichOneof("form"):
        case "json_object":
            return JsonFormat()
        case "json_schema":
            return JsonFormat(
                _possible("format.json_schema", schema("format.json_schema", message.json_schema))
            )
        case None:
            raise InvalidRequest("format names no form; give json_object or a json_schema, or leave it out")


def _possible(field: str, wanted: str) -> str:
    """Give a schema that an answer has to fit; raise InvalidRequest when none can. Tools are told to models as they are."""
    if fault := fault_of(msgspec.json.decode(wanted)):
        raise InvalidRequest(f"{field} {fault}")
    return wanted


def _sampling_to_wire(sampling: Sampling) -> pb.Sampling:
    return pb.Sampling(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        seed=sampling.seed,
        frequency_penalty=sampling.frequency_penalty,
        presence_penalty=sampling.presence_penalty,
        repeat_penalty=sampling.repeat_penalty,
    )


def _sampling_from_wire(message: pb.Sampling) -> Sampling:
    has = message.HasField
    sampling = Sampling(
        temperature=message.temperature if has("temperature") else None,
        top_p=message.top_p if has("top_p") else None,
        top_k=message.top_k if has("top_k") else None,
        min_p=message.min_p if has("min_p") else None,
        seed=message.seed if has("seed") else None,
        frequency_penalty=message.frequency_penalty if has("frequency_penalty") else None,
        presence_penalty=message.presence_penalty if has("presence_penalty") else None,
        repeat_penalty=message.repeat_penalty if has("repeat_penalty") else None,
    )
    _within("temperature", sampling.temperature, 0, TEMPERATURE_MAX)
    _within("top_p", sampling.top_p, 0, 1, above=True)
    _within("min_p", sampling.min_p, 0, 1)
    _within("frequency_penalty", sampling.frequency_penalty, -PENALTY_MAX, PENALTY_MAX)
    _within("presence_penalty", sampling.presence_penalty, -PENALTY_MAX, PENALTY_MAX)
    _within("repeat_penalty", sampling.repeat_penalty, 0, REPEAT_PENALTY_MAX, above=True)
    if sampling.top_k == 0:
        raise InvalidRequest("top_k is 0; give at least 1, or leave it out")
    return sampling


def _within(field: str, value: float | None, least: float, most: float, *, above: bool = False) -> None:
    # Comparisons are written so that NaN fails them.
    if value is not None and not (least < value <= most if above else least <= value <= most):
        raise InvalidRequest(f"{field} is {value}; give {'more than ' if above else ''}{least:g} to {most:g}")
