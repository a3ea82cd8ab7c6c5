"""What OpenAI's clients send, as requests of ours. What cannot be done is refused, never left out in silence."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from hub.gateway.parsing import image_of_url, session_key, to_text
from hubspoke.errors import InvalidRequest, Unsupported
from hubspoke.types import (
    Calling,
    Effort,
    Image,
    JsonFormat,
    Message,
    Request,
    Sampling,
    Speaker,
    Tool,
    ToolCall,
    ToolChoice,
)

Json: TypeAlias = dict[str, object]


class ImageUrl(msgspec.Struct):
    """Where a picture is."""

    url: str


class Part(msgspec.Struct):
    """Some of what is said."""

    type: str
    text: str | None = None
    image_url: ImageUrl | str | None = None


class CalledFunction(msgspec.Struct):
    """A function that was called."""

    name: str
    arguments: str = "{}"


class CalledTool(msgspec.Struct):
    """A tool that was called."""

    function: CalledFunction
    id: str = ""
    type: str = "function"


class ChatMessage(msgspec.Struct):
    """One turn."""

    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[CalledTool] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None


class Function(msgspec.Struct):
    """A function that may be called."""

    name: str
    description: str | None = None
    parameters: Json | None = None


class OfferedTool(msgspec.Struct):
    """A tool that may be called."""

    function: Function
    type: str = "function"


class Named(msgspec.Struct):
    """The name of something."""

    name: str


class ChosenTool(msgspec.Struct):
    """A tool that has to be called."""

    function: Named
    type: str = "function"


class Schema(msgspec.Struct):
    """A JSON schema with a name."""

    schema: Json | None = None
    name: str = ""


class ResponseFormat(msgspec.Struct):
    """What the text has to be."""

    type: str
    json_schema: Schema | None = None


class StreamOptions(msgspec.Struct):
    """What a stream has to hold."""

    include_usage: bool | None = None


class Drawn(msgspec.Struct, kw_only=True):
    """How tokens are drawn, and what every kind of completion has in common."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    max_tokens: int | None = None
    n: int | None = None
    logit_bias: Json | None = None
    user: str | None = None
    prompt_cache_key: str | None = None


class ChatBody(Drawn, kw_only=True):
    """The body of a chat completion."""

    messages: list[ChatMessage]
    max_completion_tokens: int | None = None
    tools: list[OfferedTool] | None = None
    tool_choice: str | ChosenTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    modalities: list[str] | None = None
    functions: list[object] | None = None


class CompletionBody(Drawn, kw_only=True):
    """The body of a text completion."""

    prompt: str | list[str]
    suffix: str | None = None
    echo: bool | None = None
    best_of: int | None = None
    logprobs: int | None = None


_SPEAKERS: Final = {
    "system": Speaker.SYSTEM,
    "developer": Speaker.SYSTEM,
    "user": Speaker.USER,
    "assistant": Speaker.ASSISTANT,
    "tool": Speaker.TOOL,
}
_EFFORTS: Final = {
    "none": Effort.NONE,
    "minimal": Effort.LOW,
    "low": Effort.LOW,
    "medium": Effort.MEDIUM,
    "high": Effort.HIGH,
    "xhigh": Effort.HIGH,
    "max": Effort.HIGH,
}
_CHOICES: Final = {"auto": Calling.AUTO, "none": Calling.NONE, "required": Calling.REQUIRED}
_TOKENS_MAX: Final = 2**32 - 1


def chat_request(body: ChatBody) -> Request:
    """Give a chat completion as a request; raise InvalidRequest or Unsupported."""
    _refuse("n", "several answers at once", is_asked=(body.n or 1) != 1)
    _refuse("logprobs", "probabilities of tokens", is_asked=bool(body.logprobs or body.top_logprobs))
    _refuse("logit_bias", "to bias single tokens", is_asked=bool(body.logit_bias))
    _refuse("functions", "functions without tools; use tools", is_asked=bool(body.functions))
    _refuse("modalities", "anything but text", is_asked=set(body.modalities or ["text"]) != {"text"})
    if not body.messages:
        raise InvalidRequest("messages is empty; give at least one")
    tools = tuple(_tool(tool) for tool in body.tools or ())
    return Request(
        model=body.model,
        messages=conversation(body.messages),
        sampling=_sampling(body),
        max_output_tokens=_limit(body.max_completion_tokens or body.max_tokens),
        stop=_stops(body.stop),
        session_key=session_key(body.prompt_cache_key, body.user),
        tools=tools,
        tool_choice=_choice(body) if tools else ToolChoice(),
        format=_format(body.response_format),
        thinking=effort(body.reasoning_effort),
    )


def completion_request(body: CompletionBody) -> Request:
    """Give a text completion as a request; raise InvalidRequest or Unsupported."""
    prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    _refuse("prompt", "several prompts at once", is_asked=len(prompts) != 1)
    _refuse("n", "several answers at once", is_asked=max(body.n or 1, body.best_of or 1) != 1)
    _refuse("suffix", "to fill in before a suffix", is_asked=bool(body.suffix))
    _refuse("echo", "to repeat the prompt", is_asked=bool(body.echo))
    _refuse("logprobs", "probabilities of tokens", is_asked=body.logprobs is not None)
    return Request(
        model=body.model,
        prompt=prompts[0],
        sampling=_sampling(body),
        max_output_tokens=_limit(body.max_tokens),
        stop=_stops(body.stop),
        session_key=session_key(body.prompt_cache_key, body.user),
    )


def conversation(messages: list[ChatMessage]) -> tuple[Message, ...]:
    """Give the turns; a tool's result is told by the name of the call that it belongs to."""
    names: dict[str, str] = {}
    turns: list[Message] = []
    for message in messages:
        turn = _turn(message, names)
        names |= {call.id: call.name for call in turn.tool_calls}
        turns.append(turn)
    return tuple(turns)


def effort(named: str | None) -> Effort | None:
    """Give how much a model is to think."""
    if named is None:
        return None
    if named not in _EFFORTS:
        raise InvalidRequest(f"reasoning_effort is {named!r}; give {', '.join(_EFFORTS)}")
    return _EFFORTS[named]


def _turn(message: ChatMessage, names: dict[str, str]) -> Message:
    speaker = _SPEAKERS.get(message.role)
    if speaker is None:
        raise InvalidRequest(f"messages.role is {message.role!r}; give {', '.join(_SPEAKERS)}")
    text, images = _content(message.content)
    calls = tuple(
        ToolCall(call.function.name, call.function.arguments or "{}", call.id)
        for call in message.tool_calls or ()
    )
    call_id = message.tool_call_id or ""
    tool_name = ""
    if speaker is Speaker.TOOL:
        tool_name = names.get(call_id) or message.name or ""
        if not tool_name:
            raise InvalidRequest(f"messages.tool_call_id {call_id!r} belongs to no call before it")
    return Message(
        speaker,
        text,
        images=images,
        thinking=message.reasoning_content or "",
        tool_calls=calls,
        tool_call_id=call_id if speaker is Speaker.TOOL else "",
        tool_name=tool_name,
    )


def _content(content: str | list[Part] | None) -> tuple[str, tuple[Image, ...]]:
    if content is None or isinstance(content, str):
        return content or "", ()
    texts: list[str] = []
    images: list[Image] = []
    for part in content:
        match part.type:
            case "text" | "input_text" | "output_text":
                texts.append(part.text or "")
            case "image_url" | "input_image" if part.image_url is not None:
                url = part.image_url if isinstance(part.image_url, str) else part.image_url.url
                images.append(image_of_url(url))
            case _:
                raise Unsupported(f"a part of the type {part.type!r} cannot be sent to a model of this mesh")
    return "\n".join(texts), tuple(images)


def _tool(tool: OfferedTool) -> Tool:
    function = tool.function
    schema = "" if function.parameters is None else to_text(function.parameters)
    return Tool(function.name, function.description or "", schema)


def _choice(body: ChatBody) -> ToolChoice:
    chosen = body.tool_choice
    if isinstance(chosen, ChosenTool):
        return ToolChoice(Calling.REQUIRED, chosen.function.name, body.parallel_tool_calls)
    if chosen is not None and chosen not in _CHOICES:
        raise InvalidRequest(f"tool_choice is {chosen!r}; give {', '.join(_CHOICES)}, or a function")
    return ToolChoice(_CHOICES[chosen or "auto"], "", body.parallel_tool_calls)


def _format(wanted: ResponseFormat | None) -> JsonFormat | None:
    match wanted.type if wanted is not None else "text":
        case "text":
            return None
        case "json_object":
            return JsonFormat()
        case "json_schema" if wanted is not None and wanted.json_schema and wanted.json_schema.schema:
            return JsonFormat(to_text(wanted.json_schema.schema))
        case _:
            raise InvalidRequest("response_format must be text, json_object, or json_schema with a schema")


def _sampling(body: Drawn) -> Sampling:
    return Sampling(
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=body.top_k,
        min_p=body.min_p,
        seed=body.seed,
        frequency_penalty=body.frequency_penalty or None,
        presence_penalty=body.presence_penalty or None,
        repeat_penalty=body.repeat_penalty or body.repetition_penalty,
    )


def _stops(stop: str | list[str] | None) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else tuple(stop or ())


def _limit(tokens: int | None) -> int:
    if tokens is not None and not 0 <= tokens <= _TOKENS_MAX:
        raise InvalidRequest(f"max_tokens is {tokens}; give at least 1, or leave it out")
    return tokens or 0


def _refuse(field: str, what: str, *, is_asked: bool) -> None:
    if is_asked:
        raise Unsupported(f"{field}: this mesh does not do {what}")
