"""What Ollama's clients send, as requests of ours. What cannot be done is refused, never left out in silence.

`keep_alive` is a hint: the mesh decides how long a model stays in memory, and by hand only its operators do. `truncate` and
`shift` are as if they were false: nothing is ever cut from what is asked.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

import msgspec

from hub.gateway.ollama import options as opt
from hub.gateway.ollama.options import Options
from hub.gateway.ollama.turns import ChatMessage, conversation
from hub.gateway.parsing import image_of_base64, to_text
from hubspoke.errors import InvalidRequest, Unsupported
from hubspoke.types import Effort, JsonFormat, Message, Request, Speaker, Tool
from hubspoke.wire.allowed import MODEL_BYTES_MAX
from hubspoke.wire.checks import short

Json: TypeAlias = dict[str, object]

_LEVELS: Final = {"low": Effort.LOW, "medium": Effort.MEDIUM, "high": Effort.HIGH}
_NO_TIME: Final = re.compile(r"[+-]?0+(?:\.0*)?(?:ns|us|µs|ms|s|m|h)?")


class Function(msgspec.Struct):
    """A function that may be called."""

    name: str
    description: str | None = None
    parameters: Json | None = None


class OfferedTool(msgspec.Struct):
    """A tool that may be called."""

    function: Function
    type: str | None = None


class Asked(msgspec.Struct, kw_only=True):
    """What every question has in common."""

    model: str
    stream: bool | None = None
    options: Options | None = None
    format: str | Json | None = None
    think: bool | str | None = None
    keep_alive: int | float | str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


class ChatBody(Asked, kw_only=True):
    """The body of `/api/chat`."""

    messages: list[ChatMessage] | None = None
    tools: list[OfferedTool] | None = None


class GenerateBody(Asked, kw_only=True):
    """The body of `/api/generate`."""

    prompt: str | None = None
    system: str | None = None
    template: str | None = None
    suffix: str | None = None
    context: list[int] | None = None
    raw: bool | None = None
    images: list[str] | None = None


def chat_request(body: ChatBody) -> Request:
    """Give a conversation as a request; raise InvalidRequest or Unsupported."""
    return _request(
        body,
        messages=conversation(body.messages or []),
        tools=tuple(_tool(tool) for tool in body.tools or ()),
        thinking=_effort(body.think),
    )


def generate_request(body: GenerateBody) -> Request:
    """Give a prompt as a conversation of one turn, or as it is when it is raw; raise InvalidRequest or Unsupported."""
    _refuse("suffix", "fill in what comes before a suffix", is_asked=bool(body.suffix))
    _refuse("template", "use another template than the model's own", is_asked=bool(body.template))
    _refuse("context", "go on from tokens; send the conversation to /api/chat", is_asked=bool(body.context))
    prompt = body.prompt or ""
    if body.raw:
        _refuse("system", "put a system prompt before a raw one", is_asked=bool(body.system))
        _refuse("images", "show pictures beside a raw prompt", is_asked=bool(body.images))
        _refuse(
            "think",
            "have a model think about a raw prompt",
            is_asked=_effort(body.think) not in {None, Effort.NONE},
        )
        return _request(body, prompt=prompt)
    images = tuple(image_of_base64(image) for image in body.images or ())
    system = (Message(Speaker.SYSTEM, body.system),) if body.system else ()
    turns = (*system, Message(Speaker.USER, prompt, images=images))
    return _request(body, messages=turns, thinking=_effort(body.think))


def model_name(*given: str | None) -> str:
    """Give the first name that is there, checked; some clients call it `name`, others `model`."""
    name = next((name for name in given if name), "")
    if not name or not name.isprintable():
        raise InvalidRequest("model is missing, or holds characters that cannot be printed")
    return short("model", name, MODEL_BYTES_MAX)


def wants_out_of_memory(keep_alive: float | str | None) -> bool:
    """Whether a model is to be kept for no time at all: 0, or a duration of that length."""
    if isinstance(keep_alive, str):
        return _NO_TIME.fullmatch(keep_alive) is not None
    return keep_alive == 0


def _request(
    body: Asked,
    *,
    messages: tuple[Message, ...] = (),
    prompt: str = "",
    tools: tuple[Tool, ...] = (),
    thinking: Effort | None = None,
) -> Request:
    asks_logprobs = bool(body.logprobs or body.top_logprobs)
    _refuse("logprobs", "tell how likely tokens are", is_asked=asks_logprobs)
    options = body.options or Options()
    opt.check(options)
    return Request(
        model=model_name(body.model),
        messages=messages,
        prompt=prompt,
        sampling=opt.sampling(options),
        max_output_tokens=opt.limit(options),
        stop=opt.stops(options),
        tools=tools,
        format=_format(body.format),
        thinking=thinking,
    )


def _tool(tool: OfferedTool) -> Tool:
    function = tool.function
    schema = "" if function.parameters is None else to_text(function.parameters)
    return Tool(function.name, function.description or "", schema)


def _format(wanted: str | Json | None) -> JsonFormat | None:
    match wanted:
        case None | "":
            return None
        case "json":
            return JsonFormat()
        case dict():
            return JsonFormat(to_text(wanted))
        case _:
            raise InvalidRequest('format must be "json" or a JSON schema')


def _effort(think: bool | str | None) -> Effort | None:  # noqa: FBT001  # as JSON has it
    match think:
        case None | "":
            return None
        case False:
            return Effort.NONE
        case True:
            return Effort.MEDIUM
        case _ if think in _LEVELS:
            return _LEVELS[think]
        case _:
            raise InvalidRequest(f"think is {think!r}; give true, false, {', '.join(_LEVELS)}")


def _refuse(field: str, what: str, *, is_asked: bool) -> None:
    if is_asked:
        raise Unsupported(f"{field}: this mesh cannot {what}")
