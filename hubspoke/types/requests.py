"""What is asked of the mesh."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Priority(StrEnum):
    """Which requests go first when not all can."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


class Speaker(StrEnum):
    """Who speaks in a conversation."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class CallKind(StrEnum):
    """Which of the calls that run on a spoke a request is of."""

    INFER = "infer"
    EMBED = "embed"


class Effort(StrEnum):
    """How much a model thinks before it answers."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Calling(StrEnum):
    """Whether a model has to call tools."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Image:
    """A picture: a whole PNG, JPEG, WebP or GIF file."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """Something that a model wants done; *arguments* is a JSON object as text."""

    name: str
    arguments: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    The user's *images* stand before the text; what the assistant thought (*thinking*) and called (*tool_calls*) belongs
    to its turn; a tool's turn names the tool and the call whose result it is.
    """

    speaker: Speaker
    text: str
    images: tuple[Image, ...] = ()
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    tool_name: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """Something that a model may call; *parameters* is the JSON schema of its arguments as text, "" for none."""

    name: str
    description: str = ""
    parameters: str = ""


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether a model has to call tools, and which one (*name*); *parallel*: several at once, `None` as it likes."""

    mode: Calling = Calling.AUTO
    name: str = ""
    parallel: bool | None = None


@dataclass(frozen=True, slots=True)
class JsonFormat:
    """The whole text is JSON: a value that *schema*, itself JSON as text, allows; any object when that is empty."""

    schema: str = ""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn; the model's own default stands for `None`."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repeat_penalty: float | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A question: a conversation or, when `messages` is empty, a raw `prompt`. 0 output tokens means no limit.

    `thinking` is the model's own way when it is `None`.
    """

    model: str
    messages: tuple[Message, ...] = ()
    prompt: str = ""
    sampling: Sampling = Sampling()
    max_output_tokens: int = 0
    stop: tuple[str, ...] = ()
    priority: Priority = Priority.INTERACTIVE
    session_key: str = ""
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    format: JsonFormat | None = None
    thinking: Effort | None = None


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """Texts that are to become vectors of *dimensions* numbers, of as many as the model makes when that is 0."""

    model: str
    inputs: tuple[str, ...]
    dimensions: int = 0
    priority: Priority = Priority.INTERACTIVE
