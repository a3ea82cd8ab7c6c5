"""What is asked: every field of a request from outside is checked here, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.errors import InvalidRequest
from hubspoke.types import Calling, EmbedRequest, JsonFormat, Priority, Request, Sampling, Tool, ToolChoice
from hubspoke.wire import enums, times
from hubspoke.wire.allowed import check, check_format, check_texts
from hubspoke.wire.checks import schema
from hubspoke.wire.conversation import messages_from_wire, messages_to_wire
from hubspoke.wire.sendable import sendable

if TYPE_CHECKING:
    from datetime import datetime

    from hubspoke.types import Message


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
    is_prompt = message.WhichOneof("input") == "prompt"
    thinking = message.thinking
    request = Request(
        model=message.model,
        messages=() if is_prompt else _messages(message),
        prompt=message.prompt,
        sampling=_sampling_from_wire(message.sampling),
        max_output_tokens=message.max_output_tokens,
        stop=tuple(message.stop),
        priority=priority_from_wire(message.priority),
        session_key=message.session_key,
        tools=tuple(Tool(tool.name, tool.description, tool.parameters) for tool in message.tools),
        tool_choice=_choice_from_wire(message),
        format=_form(message.format) if message.HasField("format") else None,
        thinking=None if thinking == pb.EFFORT_UNSPECIFIED else enums.EFFORT.from_wire(thinking),
    )
    check(request)
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
    request = EmbedRequest(
        model=message.model,
        inputs=tuple(message.inputs),
        dimensions=message.dimensions,
        priority=priority_from_wire(message.priority),
    )
    check_texts(request)
    return request, times.moment(message.deadline, "deadline") if message.HasField("deadline") else None


def priority_from_wire(value: int) -> Priority:
    """Give which requests go first; unset is as interactive. Raise InvalidRequest for one of a newer version."""
    return Priority.INTERACTIVE if value == pb.PRIORITY_UNSPECIFIED else enums.PRIORITY.from_wire(value)


def _messages(message: pb.InferRequest) -> tuple[Message, ...]:
    if message.WhichOneof("input") is None:
        raise InvalidRequest("input is missing; give a conversation or a prompt")
    return messages_from_wire(message.conversation)


def _choice_to_wire(request: Request) -> pb.ToolChoice | None:
    choice = request.tool_choice
    if not request.tools and choice.mode is not Calling.REQUIRED:
        return None  # kept anyway; a call that is demanded is not, and the hub says so
    return pb.ToolChoice(mode=enums.CALLING.to_wire(choice.mode), name=choice.name, parallel=choice.parallel)


def _choice_from_wire(message: pb.InferRequest) -> ToolChoice:
    if not message.HasField("tool_choice"):
        return ToolChoice()
    if not message.tools:
        raise InvalidRequest("tool_choice needs tools to choose from; give some, or leave it out")
    choice = message.tool_choice
    mode = Calling.AUTO
    if choice.mode != pb.ToolChoice.MODE_UNSPECIFIED:
        mode = enums.CALLING.from_wire(choice.mode)
    return ToolChoice(mode, choice.name, choice.parallel if choice.HasField("parallel") else None)


def format_to_wire(wanted: JsonFormat) -> pb.OutputFormat:
    """Give what a text has to be as a message."""
    if wanted.schema:
        return pb.OutputFormat(json_schema=wanted.schema)
    return pb.OutputFormat(json_object=pb.JsonObject())


def format_from_wire(message: pb.OutputFormat) -> JsonFormat:
    """Check what a text has to be; raise InvalidRequest when that is nothing."""
    wanted = _form(message)
    check_format(wanted)
    return wanted


def _form(message: pb.OutputFormat) -> JsonFormat:
    match message.WhichOneof("form"):
        case "json_object":
            return JsonFormat()
        case "json_schema":
            # Empty, it would stand for any object.
            return JsonFormat(message.json_schema or schema("format.json_schema", ""))
        case None:
            raise InvalidRequest("format names no form; give json_object or a json_schema, or leave it out")


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
    return Sampling(
        temperature=message.temperature if has("temperature") else None,
        top_p=message.top_p if has("top_p") else None,
        top_k=message.top_k if has("top_k") else None,
        min_p=message.min_p if has("min_p") else None,
        seed=message.seed if has("seed") else None,
        frequency_penalty=message.frequency_penalty if has("frequency_penalty") else None,
        presence_penalty=message.presence_penalty if has("presence_penalty") else None,
        repeat_penalty=message.repeat_penalty if has("repeat_penalty") else None,
    )
