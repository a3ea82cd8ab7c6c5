"""What a request may hold, whether it comes as a message or from a dialect of the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from hubspoke.errors import InvalidRequest
from hubspoke.schemas import fault_of
from hubspoke.types import Calling
from hubspoke.wire.checks import named, schema, short
from hubspoke.wire.conversation import check_turns

if TYPE_CHECKING:
    from hubspoke.types import EmbedRequest, JsonFormat, Request, Sampling, Tool, ToolChoice

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


def check(request: Request) -> None:
    """Raise InvalidRequest that names the field when *request* is none that may be asked."""
    _check_model(request.model)
    short("session_key", request.session_key, SESSION_KEY_BYTES_MAX)
    _check_stops(request.stop)
    if request.messages:
        check_turns(request.messages)
    elif request.tools or request.thinking is not None:
        raise InvalidRequest("tools and thinking need a conversation; a raw prompt has neither")
    elif not request.prompt:
        raise InvalidRequest("prompt is empty; give at least one byte to continue")
    _check_tools(request.tools)
    _check_sampling(request.sampling)
    _check_choice(request.tool_choice, request.tools)
    if request.format is not None:
        check_format(request.format)


def check_texts(request: EmbedRequest) -> None:
    """Raise InvalidRequest that names the field when *request* is none that may be asked."""
    if not 1 <= len(request.inputs) <= INPUTS_MAX:
        raise InvalidRequest(f"inputs has {len(request.inputs)} texts; give 1 to {INPUTS_MAX}")
    if not all(request.inputs):
        raise InvalidRequest("inputs holds an empty text, which has no direction; leave it out")
    if request.dimensions > DIMENSIONS_MAX:
        raise InvalidRequest(f"dimensions is {request.dimensions}; at most {DIMENSIONS_MAX} make sense")
    _check_model(request.model)


def check_format(wanted: JsonFormat) -> None:
    """Raise InvalidRequest for a schema that is none, or that no answer can fit. Tools' are told to models as they are."""
    if wanted.schema:
        field = "format.json_schema"
        if fault := fault_of(msgspec.json.decode(schema(field, wanted.schema))):
            raise InvalidRequest(f"{field} {fault}")


def _check_model(name: str) -> None:
    if not name:
        raise InvalidRequest("model is missing; `hubspoke models` lists what can be asked")
    short("model", name, MODEL_BYTES_MAX)


def _check_stops(stops: tuple[str, ...]) -> None:
    if len(stops) > STOPS_MAX:
        raise InvalidRequest(f"stop has {len(stops)} texts; at most {STOPS_MAX} are taken")
    for stop in stops:
        short("stop", stop, STOP_BYTES_MAX)
        if not stop:
            raise InvalidRequest("stop holds an empty text, which would end every answer at once")


def _check_tools(tools: tuple[Tool, ...]) -> None:
    found: set[str] = set()
    for tool in tools:
        if named("tools.name", tool.name) in found:
            raise InvalidRequest(f"tools has two that are called {tool.name!r}; give each its own name")
        found.add(tool.name)
        short("tools.description", tool.description, TOOL_DESCRIPTION_BYTES_MAX)
        if tool.parameters:
            schema("tools.parameters", tool.parameters)
    if len(found) > TOOLS_MAX:
        raise InvalidRequest(f"tools has {len(found)} entries; at most {TOOLS_MAX} are taken")


def _check_choice(choice: ToolChoice, tools: tuple[Tool, ...]) -> None:
    if not tools:
        if choice.mode is Calling.REQUIRED:  # any other is kept anyway
            raise InvalidRequest("tool_choice needs tools to choose from; give some, or leave it out")
        return
    if choice.name and choice.mode is not Calling.REQUIRED:
        raise InvalidRequest("tool_choice names a tool, which only REQUIRED does")
    if choice.name and choice.name not in {tool.name for tool in tools}:
        raise InvalidRequest(f"tool_choice names {choice.name!r}, which is not among the tools")


def _check_sampling(sampling: Sampling) -> None:
    _within("temperature", sampling.temperature, 0, TEMPERATURE_MAX)
    _within("top_p", sampling.top_p, 0, 1, above=True)
    _within("min_p", sampling.min_p, 0, 1)
    _within("frequency_penalty", sampling.frequency_penalty, -PENALTY_MAX, PENALTY_MAX)
    _within("presence_penalty", sampling.presence_penalty, -PENALTY_MAX, PENALTY_MAX)
    _within("repeat_penalty", sampling.repeat_penalty, 0, REPEAT_PENALTY_MAX, above=True)
    if sampling.top_k == 0:
        raise InvalidRequest("top_k is 0; give at least 1, or leave it out")


def _within(field: str, value: float | None, least: float, most: float, *, above: bool = False) -> None:
    # Comparisons are written so that NaN fails them.
    if value is not None and not (least < value <= most if above else least <= value <= most):
        raise InvalidRequest(f"{field} is {value}; give {'more than ' if above else ''}{least:g} to {most:g}")
