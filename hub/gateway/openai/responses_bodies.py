"""What the Responses API is sent: a conversation in other words, so it becomes the body of a chat first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hub.gateway.openai.bodies import (
    CalledFunction,
    CalledTool,
    ChatBody,
    ChatMessage,
    ChosenTool,
    Function,
    Json,
    Named,
    OfferedTool,
    Part,
    ResponseFormat,
    Schema,
    chat_request,
)
from hubspoke.errors import InvalidRequest, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hubspoke.types import Request


class Item(msgspec.Struct):
    """A piece of the conversation; which fields it has depends on its type."""

    type: str = "message"
    role: str = ""
    content: str | list[Part] | None = None
    summary: list[Part] | None = None
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    output: str | list[Part] | None = None


class FunctionTool(msgspec.Struct):
    """A tool that may be called."""

    type: str
    name: str = ""
    description: str | None = None
    parameters: Json | None = None
    strict: bool | None = None


class Chosen(msgspec.Struct):
    """A tool that has to be called."""

    type: str
    name: str = ""


class TextFormat(msgspec.Struct, omit_defaults=True):
    """What the text has to be."""

    type: str
    name: str = ""
    schema: Json | None = None
    strict: bool | None = None


class TextConfig(msgspec.Struct):
    """How the text has to be."""

    format: TextFormat | None = None


class Reasoning(msgspec.Struct):
    """How much to think."""

    effort: str | None = None


class ResponsesBody(msgspec.Struct, kw_only=True):
    """The body of a request for a response."""

    model: str
    input: str | list[Item]
    instructions: str | None = None
    stream: bool | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: str | Chosen | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    reasoning: Reasoning | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    metadata: Json | None = None
    user: str | None = None
    prompt_cache_key: str | None = None
    previous_response_id: str | None = None
    conversation: object = None
    background: bool | None = None
    prompt: object = None


def response_request(body: ResponsesBody) -> Request:
    """Give the request; raise InvalidRequest or Unsupported."""
    _refuse_what_needs_a_store(body)
    instructions = [ChatMessage(role="system", content=body.instructions)] if body.instructions else []
    items = [Item(role="user", content=body.input)] if isinstance(body.input, str) else body.input
    chat = ChatBody(
        model=body.model,
        messages=[*instructions, *_turns(items)],
        tools=[_tool(tool) for tool in body.tools or ()],
        tool_choice=_choice(body.tool_choice),
        parallel_tool_calls=body.parallel_tool_calls,
        response_format=_format(body.text),
        reasoning_effort=body.reasoning.effort if body.reasoning else None,
        max_completion_tokens=body.max_output_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        top_logprobs=body.top_logprobs,
        user=body.user,
        prompt_cache_key=body.prompt_cache_key,
    )
    return chat_request(chat)


def _refuse_what_needs_a_store(body: ResponsesBody) -> None:
    asked = {
        "previous_response_id": body.previous_response_id,
        "conversation": body.conversation,
        "background": body.background,
        "prompt": body.prompt,
    }
    for field, value in asked.items():
        if value:
            raise Unsupported(
                f"{field}: nothing is stored here, neither responses nor prompts; send the whole conversation as input"
            )


def _turns(items: Iterable[Item]) -> list[ChatMessage]:
    """Give the turns: what the assistant thought, said and called in a row is one."""
    turns: list[ChatMessage] = []
    for item in items:
        match item.type:
            case "message" if item.role != "assistant":
                turns.append(ChatMessage(role=item.role, content=item.content))
            case "message":
                turn = _assistant(turns)
                turn.content = [*_parts(turn.content), *_parts(item.content)]
            case "reasoning":
                turn = _assistant(turns)
                thought = "\n".join(
                    part.text or "" for part in [*(item.summary or ()), *_parts(item.content)]
                )
                turn.reasoning_content = "\n".join(filter(None, (turn.reasoning_content, thought)))
            case "function_call":
                turn = _assistant(turns)
                call = CalledTool(CalledFunction(item.name, item.arguments), id=item.call_id)
                turn.tool_calls = [*(turn.tool_calls or ()), call]
            case "function_call_output":
                turns.append(ChatMessage(role="tool", content=item.output, tool_call_id=item.call_id))
            case _:
                raise Unsupported(
                    f"an item of the type {item.type[:100]!r} means nothing to this mesh; leave it out"
                )
    return turns


def _assistant(turns: list[ChatMessage]) -> ChatMessage:
    """Give the assistant's turn that is under way, or a new one."""
    if not turns or turns[-1].role != "assistant":
        turns.append(ChatMessage(role="assistant"))
    return turns[-1]


def _parts(content: str | list[Part] | None) -> list[Part]:
    return [Part("text", text=content)] if isinstance(content, str) else content or []


def _tool(tool: FunctionTool) -> OfferedTool:
    if tool.type != "function":
        raise Unsupported(
            f"tools: this mesh has no {tool.type[:100]!r} of its own; give tools of the type function"
        )
    return OfferedTool(Function(tool.name, tool.description, tool.parameters))


def _choice(chosen: str | Chosen | None) -> str | ChosenTool | None:
    if not isinstance(chosen, Chosen):
        return chosen
    if chosen.type != "function":
        raise Unsupported(
            f"tool_choice: {chosen.type[:100]!r} cannot be chosen here; give a mode, or a function"
        )
    return ChosenTool(Named(chosen.name))


def _format(text: TextConfig | None) -> ResponseFormat | None:
    wanted = text.format if text else None
    if wanted is None:
        return None
    if wanted.type == "json_schema" and wanted.schema is None:
        raise InvalidRequest("text.format needs a schema for json_schema")
    return ResponseFormat(wanted.type, Schema(wanted.schema, wanted.name))
