"""Conversations as Ollama's clients send them. Most of them leave out which call a tool's result belongs to."""

from __future__ import annotations

from typing import Final

import msgspec

from hub.gateway.parsing import image_of_base64, to_text
from hubspoke.errors import InvalidRequest
from hubspoke.types import Message, Speaker, ToolCall

_SPEAKERS: Final = {speaker.value: speaker for speaker in Speaker}


class CalledFunction(msgspec.Struct):
    """A function that was called."""

    name: str
    arguments: dict[str, object] | None = None


class CalledTool(msgspec.Struct):
    """A tool that was called."""

    function: CalledFunction
    id: str | None = None


class ChatMessage(msgspec.Struct):
    """One turn."""

    role: str
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[CalledTool] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


def conversation(messages: list[ChatMessage]) -> tuple[Message, ...]:
    """Give the turns; raise InvalidRequest for one that cannot be. A system prompt without text is none."""
    open_calls: list[ToolCall] = []
    made = 0
    turns: list[Message] = []
    for message in messages:
        speaker = _SPEAKERS.get(message.role)
        if speaker is None:
            raise InvalidRequest(f"messages.role is {message.role!r}; give {', '.join(_SPEAKERS)}")
        if speaker is Speaker.TOOL:
            turns.append(_result(message, open_calls))
            continue
        calls = _calls(message.tool_calls or [], made)
        made += len(calls)
        open_calls = list(calls)
        if speaker is not Speaker.SYSTEM or message.content:
            turns.append(_turn(message, speaker, calls))
    if messages and not turns:
        raise InvalidRequest("messages holds nothing that was said; give at least one turn of the user")
    return tuple(turns)


def _turn(message: ChatMessage, speaker: Speaker, calls: tuple[ToolCall, ...]) -> Message:
    return Message(
        speaker,
        message.content or "",
        images=tuple(image_of_base64(image) for image in message.images or ()),
        thinking=message.thinking or "",
        tool_calls=calls,
    )


def _calls(called: list[CalledTool], made: int) -> tuple[ToolCall, ...]:
    """Give the calls of a turn, after *made* others; one without an id gets one, which its result is told by."""
    return tuple(
        ToolCall(
            call.function.name,
            to_text(call.function.arguments or {}),
            call.id or f"call_{made + number}",
        )
        for number, call in enumerate(called)
    )


def _result(message: ChatMessage, open_calls: list[ToolCall]) -> Message:
    """Give what a tool has said: to the call that is named, or to the first of *open_calls*, from which it is taken."""
    call = _called(message, open_calls)
    if call is not None:
        open_calls.remove(call)
    name = message.tool_name or (call.name if call is not None else "")
    if not name:
        raise InvalidRequest("a tool's turn belongs to no call before it; set tool_name")
    call_id = message.tool_call_id or (call.id if call is not None else "")
    return Message(Speaker.TOOL, message.content or "", tool_name=name, tool_call_id=call_id)


def _called(message: ChatMessage, open_calls: list[ToolCall]) -> ToolCall | None:
    if message.tool_call_id:
        return next((call for call in open_calls if call.id == message.tool_call_id), None)
    if message.tool_name:
        return next((call for call in open_calls if call.name == message.tool_name), None)
    return next(iter(open_calls), None)
