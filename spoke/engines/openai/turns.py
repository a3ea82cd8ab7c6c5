"""Conversations as servers of the OpenAI HTTP API want them. Pure."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from hubspoke.types import Speaker
from hubspoke.wire.conversation import media_type

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hubspoke.types import Image, Message, ToolCall
    from spoke.engines.json_text import Json
    from spoke.engines.openai.dialect import Dialect


def turns(messages: Iterable[Message], dialect: Dialect) -> list[Json]:
    """Write a conversation. Calls that have no id get one, and so do their results."""
    written: list[Json] = []
    due: list[tuple[str, str]] = []  # ids and tools of calls whose results are still to come
    for number, turn in enumerate(messages):
        if turn.speaker is Speaker.TOOL:
            written.append(_result(turn, due))
        elif turn.tool_calls:
            ids = [call.id or f"call_{number}_{place}" for place, call in enumerate(turn.tool_calls)]
            due = [(name, call.name) for name, call in zip(ids, turn.tool_calls, strict=True)]
            calls: list[Json] = [_call(name, call) for name, call in zip(ids, turn.tool_calls, strict=True)]
            written.append({**_said(turn, dialect), "tool_calls": calls})
        else:
            written.append(_said(turn, dialect))
    return written


def _said(turn: Message, dialect: Dialect) -> dict[str, Json]:
    said: dict[str, Json] = {"role": turn.speaker.value, "content": turn.text}
    if turn.images:
        shown: list[Json] = [_picture(image) for image in turn.images]
        said["content"] = [*shown, {"type": "text", "text": turn.text}] if turn.text else shown
    if turn.thinking and dialect.thoughts:
        said[dialect.thoughts] = turn.thinking
    return said


def _picture(image: Image) -> dict[str, Json]:
    url = f"data:{media_type(image.data)};base64,{b64encode(image.data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def _call(name: str, call: ToolCall) -> dict[str, Json]:
    return {"id": name, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _result(turn: Message, due: list[tuple[str, str]]) -> dict[str, Json]:
    """Write a result. One that does not say which call it is of, is of the first that waits for that tool."""
    waiting = [name for name, tool in due if tool == turn.tool_name]
    call = turn.tool_call_id or next(iter(waiting), "")
    due[:] = [pair for pair in due if pair[0] != call]
    return {"role": "tool", "tool_call_id": call, "name": turn.tool_name, "content": turn.text}
