"""Requests as Ollama wants them. Pure."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from hubspoke.errors import Unsupported
from hubspoke.types import Calling, Effort
from spoke.engines.openai.body import SEEDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hubspoke.types import JsonFormat, Message, Request, Sampling, Tool, ToolCall
    from spoke.engines.json_text import Json

Think: TypeAlias = Literal["low", "medium", "high"] | bool

NO_LIMIT: Final = -1

_THINK: Final[Mapping[Effort | None, Think | None]] = {
    None: None,
    Effort.NONE: False,
    Effort.LOW: "low",
    Effort.MEDIUM: "medium",
    Effort.HIGH: "high",
}


def refuse_unkept(request: Request) -> None:
    """Raise Unsupported for a choice of tools that Ollama cannot be held to.

    Its API knows tools and nothing of a choice: a model that is told of tools calls none, one or several, as it likes.
    So AUTO is what always happens, and NONE is kept by not telling the model of the tools.
    """
    choice = request.tool_choice
    if choice.mode is Calling.REQUIRED:
        wanted = repr(choice.name) if choice.name else "a tool"
        raise Unsupported(
            f"Ollama cannot make a model call {wanted}; leave the choice to the model, or ask one of another engine"
        )
    if choice.parallel is False and choice.mode is Calling.AUTO and request.tools:
        raise Unsupported(
            "Ollama cannot keep a model from calling several tools at once; leave that open, or ask one of another engine"
        )


def messages(request: Request) -> list[Json]:
    """Give the conversation, turn by turn."""
    return [_turn(turn) for turn in request.messages]


def tools(request: Request) -> list[Json]:
    """Give the tools that the model is told of: none when it must not call any."""
    if request.tool_choice.mode is Calling.NONE:
        return []
    return [_tool(tool) for tool in request.tools]


def think(request: Request) -> Think | None:
    """Give how much the model is to think, in Ollama's words; None leaves that to the model."""
    return _THINK[request.thinking]


def output_format(wanted: JsonFormat | None) -> dict[str, Json] | Literal["json"] | None:
    """Give the form of the text: a schema, any JSON, or any text."""
    if wanted is None:
        return None
    return msgspec.json.decode(wanted.schema, type=dict) if wanted.schema else "json"


def load_options(context_tokens: int) -> dict[str, Json]:
    """Give what belongs to a loaded model and not to a request.

    Every request repeats it: Ollama loads a model anew when one of these differs from what it was loaded with.
    """
    return {"num_ctx": context_tokens}


def request_options(request: Request, context_tokens: int) -> dict[str, Json]:
    """Give all options of a request. Where it sets no limit, the limit that a model's author may have set is lifted."""
    options = load_options(context_tokens) | _sampling(request.sampling)
    options["num_predict"] = request.max_output_tokens or NO_LIMIT
    if request.stop:
        options["stop"] = list(request.stop)
    return options


def _turn(turn: Message) -> dict[str, Json]:
    said: dict[str, Json] = {"role": turn.speaker.value, "content": turn.text}
    if turn.thinking:
        said["thinking"] = turn.thinking
    if turn.images:
        said["images"] = [b64encode(image.data).decode() for image in turn.images]
    if turn.tool_calls:
        said["tool_calls"] = [_call(call) for call in turn.tool_calls]
    if turn.tool_name:
        said["tool_name"] = turn.tool_name
    if turn.tool_call_id:
        said["tool_call_id"] = turn.tool_call_id
    return said


def _call(call: ToolCall) -> dict[str, Json]:
    made: dict[str, Json] = {"function": {"name": call.name, "arguments": _object(call.arguments)}}
    return {"id": call.id, **made} if call.id else made


def _tool(tool: Tool) -> dict[str, Json]:
    # A template may go through the properties, also where there are none.
    none: dict[str, Json] = {"type": "object", "properties": {}}
    parameters = none | _object(tool.parameters or "{}")
    described: dict[str, Json] = {
        "name": tool.name,
        "description": tool.description,
        "parameters": parameters,
    }
    return {"type": "function", "function": described}


def _object(text: str) -> dict[str, Json]:
    return msgspec.json.decode(text, type=dict)


def _sampling(sampling: Sampling) -> dict[str, Json]:
    named: dict[str, Json] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "seed": None if sampling.seed is None else sampling.seed % SEEDS,
        "repeat_penalty": sampling.repeat_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
    }
    return {name: value for name, value in named.items() if value is not None}
