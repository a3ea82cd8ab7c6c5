"""A body as a request of ours. What cannot be done is refused, never left out in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hub.gateway.anthropic.conversation import conversation
from hub.gateway.parsing import session_key, to_text
from hubspoke.errors import InvalidRequest, Unsupported
from hubspoke.types import Calling, Effort, JsonFormat, Request, Sampling, Tool, ToolChoice

if TYPE_CHECKING:
    from hub.gateway.anthropic.bodies import Choice, MessagesBody, OfferedTool, Thinking

LOW_TOKENS_MAX: Final = 4_096
MEDIUM_TOKENS_MAX: Final = 16_384
"""Budgets of thinking up to which the effort is low or medium: the mesh knows efforts, and no budgets."""

_CHOICES: Final = {
    "auto": Calling.AUTO,
    "any": Calling.REQUIRED,
    "tool": Calling.REQUIRED,
    "none": Calling.NONE,
}
_EFFORTS: Final = {
    "low": Effort.LOW,
    "medium": Effort.MEDIUM,
    "high": Effort.HIGH,
    "xhigh": Effort.HIGH,
    "max": Effort.HIGH,
}


def message_request(body: MessagesBody) -> Request:
    """Give a request that is to be answered; raise InvalidRequest or Unsupported."""
    if body.max_tokens is None or body.max_tokens < 1:
        raise InvalidRequest("max_tokens is missing, or less than 1; say how long the answer may be")
    return request(body, body.max_tokens)


def request(body: MessagesBody, max_tokens: int) -> Request:
    """Give the request, with *max_tokens* at most to answer; raise InvalidRequest or Unsupported."""
    if not body.messages:
        raise InvalidRequest("messages is empty; give at least one")
    _refuse("mcp_servers", "ask tools by itself", is_asked=bool(body.mcp_servers))
    _refuse("container", "run anything by itself", is_asked=body.container is not None)
    if body.temperature is not None and not 0 <= body.temperature <= 1:
        raise InvalidRequest(f"temperature is {body.temperature}; give 0 to 1")
    tools = tuple(_tool(tool) for tool in body.tools or ())
    return Request(
        model=body.model,
        messages=conversation(body.system, body.messages),
        sampling=Sampling(temperature=body.temperature, top_p=body.top_p, top_k=body.top_k),
        max_output_tokens=max_tokens,
        stop=tuple(body.stop_sequences or ()),
        session_key=session_key(body.metadata.user_id if body.metadata else None),
        tools=tools,
        tool_choice=_choice(body.tool_choice, has_tools=bool(tools)),
        format=_format(body),
        thinking=_effort(body.thinking, body.output_config.effort if body.output_config else None),
    )


def _tool(tool: OfferedTool) -> Tool:
    if tool.type not in {None, "custom"}:
        raise Unsupported(
            f"tools: {tool.type!r} is a tool of Anthropic's; this mesh has none of its own, give one with an input_schema"
        )
    if tool.input_schema is None:
        raise InvalidRequest(f"tools: {tool.name[:100]!r} has no input_schema; give one")
    return Tool(tool.name, tool.description or "", to_text(tool.input_schema))


def _choice(choice: Choice | None, *, has_tools: bool) -> ToolChoice:
    if choice is None:
        return ToolChoice()
    mode = _CHOICES.get(choice.type)
    if mode is None:
        raise InvalidRequest(f"tool_choice.type is {choice.type!r}; give {', '.join(_CHOICES)}")
    if mode is Calling.REQUIRED and not has_tools:
        raise InvalidRequest("tool_choice needs tools to choose from; give some, or leave it out")
    if choice.type == "tool" and not choice.name:
        raise InvalidRequest("tool_choice names no tool; set its name")
    name = choice.name if choice.type == "tool" else ""
    return ToolChoice(mode, name, parallel=False if choice.disable_parallel_tool_use else None)


def _effort(thinking: Thinking | None, named: str | None) -> Effort | None:
    """Say how much to think. A client that does not speak of thinking expects none."""
    if named is not None and named not in _EFFORTS:
        raise InvalidRequest(f"output_config.effort is {named!r}; give {', '.join(_EFFORTS)}")
    match "disabled" if thinking is None else thinking.type:
        case "disabled":
            return Effort.NONE
        case "adaptive" | "between_tools":
            return None if named is None else _EFFORTS[named]
        case "enabled" if thinking is not None and thinking.budget_tokens is not None:
            if thinking.budget_tokens <= LOW_TOKENS_MAX:
                return Effort.LOW
            return Effort.MEDIUM if thinking.budget_tokens <= MEDIUM_TOKENS_MAX else Effort.HIGH
        case _:
            raise InvalidRequest("thinking must be disabled, adaptive, or enabled with budget_tokens")


def _format(body: MessagesBody) -> JsonFormat | None:
    configured = body.output_config.format if body.output_config else None
    wanted = configured or body.output_format
    if wanted is None:
        return None
    if wanted.type != "json_schema" or wanted.schema is None:
        raise InvalidRequest("output_config.format must be json_schema, with a schema")
    return JsonFormat(to_text(wanted.schema))


def _refuse(field: str, what: str, *, is_asked: bool) -> None:
    if is_asked:
        raise Unsupported(f"{field}: this mesh does not {what}")
