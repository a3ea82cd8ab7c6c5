"""What Anthropic's clients send. Fields that are not here are left alone: none of them changes what is answered."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

Json: TypeAlias = dict[str, object]


class Source(msgspec.Struct):
    """Where a picture is."""

    type: str
    data: str = ""


class Block(msgspec.Struct):
    """Some of a turn; which fields it has depends on its type."""

    type: str
    text: str = ""
    source: Source | None = None
    thinking: str = ""
    id: str = ""
    name: str = ""
    input: Json | None = None
    tool_use_id: str = ""
    content: str | list[Block] | None = None
    is_error: bool | None = None


class Turn(msgspec.Struct):
    """One turn of the conversation."""

    role: str
    content: str | list[Block]


class OfferedTool(msgspec.Struct):
    """A tool that may be called."""

    name: str
    type: str | None = None
    description: str | None = None
    input_schema: Json | None = None


class Choice(msgspec.Struct):
    """Whether a tool has to be called."""

    type: str
    name: str = ""
    disable_parallel_tool_use: bool | None = None


class Thinking(msgspec.Struct):
    """Whether to think first."""

    type: str
    budget_tokens: int | None = None


class Metadata(msgspec.Struct):
    """Who asks."""

    user_id: str | None = None


class OutputFormat(msgspec.Struct):
    """What the text has to be."""

    type: str
    schema: Json | None = None


class OutputConfig(msgspec.Struct):
    """How much to think, and what the text has to be."""

    effort: str | None = None
    format: OutputFormat | None = None


class MessagesBody(msgspec.Struct, kw_only=True):
    """The body of a request, whether it is to be answered or to be counted."""

    model: str
    messages: list[Turn]
    system: str | list[Block] | None = None
    max_tokens: int | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    tools: list[OfferedTool] | None = None
    tool_choice: Choice | None = None
    thinking: Thinking | None = None
    metadata: Metadata | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    mcp_servers: list[object] | None = None
    container: object = None
