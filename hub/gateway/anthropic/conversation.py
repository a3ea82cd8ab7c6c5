"""Turns made of blocks, as turns of ours."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from hub.gateway.parsing import image_of_base64, to_text
from hubspoke.errors import InvalidRequest, Unsupported
from hubspoke.types import Image, Message, Speaker, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hub.gateway.anthropic.bodies import Block, Turn

BETWEEN_BLOCKS: Final = "\n\n"

BILLING_NOTE: Final = "x-anthropic-billing-header:"
"""A block of the system prompt that begins so is Claude Code's word to Anthropic, not to the model.

It differs from request to request, and would keep an engine from finding the rest of the prompt in its cache.
"""


def conversation(system: str | list[Block] | None, turns: Iterable[Turn]) -> tuple[Message, ...]:
    """Give the whole conversation, neighbouring turns of one speaker as one.

    Raise InvalidRequest, or Unsupported for blocks that no model of a mesh can be given.
    """
    names: dict[str, str] = {}
    said = _system(system)
    for turn in turns:
        said += _later(turn) if turn.role == "system" and said else _messages(turn, names)
    return tuple(_merged(said))


def _system(system: str | list[Block] | None) -> list[Message]:
    blocks = [system] if isinstance(system, str) else [_text(block) for block in system or ()]
    text = BETWEEN_BLOCKS.join(block for block in blocks if block and not block.startswith(BILLING_NOTE))
    return [Message(Speaker.SYSTEM, text)] if text else []


def _later(turn: Turn) -> list[Message]:
    """Give what the system says in the middle, as Claude Code has it, as the user's: many templates want it first only."""
    return [Message(Speaker.USER, f"<system>\n{told.text}\n</system>") for told in _system(turn.content)]


def _messages(turn: Turn, names: dict[str, str]) -> list[Message]:
    match turn.role:
        case "user":
            return list(_of_user(turn, names))
        case "assistant":
            return [_of_assistant(turn, names)]
        case "system":
            return _system(turn.content)
        case _:
            raise InvalidRequest(f"messages.role is {turn.role!r}; give user or assistant")


def _of_user(turn: Turn, names: dict[str, str]) -> Iterator[Message]:
    """Give the results of tools, which are turns of their own here, and then what the user says."""
    if isinstance(turn.content, str):
        yield Message(Speaker.USER, turn.content)
        return
    shown = _Shown()
    for block in turn.content:
        if block.type == "tool_result":
            yield _result(block, names, shown.images)
        else:
            shown.add(block)
    is_results_alone = any(block.type == "tool_result" for block in turn.content) and shown.is_empty
    if not is_results_alone:
        yield Message(Speaker.USER, shown.text, images=tuple(shown.images))


def _result(block: Block, names: dict[str, str], images: list[Image]) -> Message:
    """Give a tool's result; pictures in it go to *images*, for only the user's turns may have some."""
    name = names.get(block.tool_use_id)
    if name is None:
        raise InvalidRequest(
            f"tool_result.tool_use_id {block.tool_use_id[:100]!r} belongs to no tool_use before it"
        )
    shown = _Shown(images=images)
    if isinstance(block.content, str):
        shown.texts.append(block.content)
    else:
        for part in block.content or ():
            shown.add(part)
    text = f"The tool failed: {shown.text}" if block.is_error else shown.text
    return Message(Speaker.TOOL, text, tool_call_id=block.tool_use_id, tool_name=name)


def _of_assistant(turn: Turn, names: dict[str, str]) -> Message:
    if isinstance(turn.content, str):
        return Message(Speaker.ASSISTANT, turn.content)
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    for block in turn.content:
        match block.type:
            case "thinking":
                thoughts.append(block.thinking)
            case "redacted_thinking":
                pass  # nobody but who made it can read it
            case "tool_use":
                names[block.id] = block.name
                calls.append(ToolCall(block.name, to_text(block.input or {}), block.id))
            case _:
                texts.append(_text(block))
    return Message(Speaker.ASSISTANT, _joined(*texts), thinking=_joined(*thoughts), tool_calls=tuple(calls))


@dataclass(slots=True)
class _Shown:
    """Text and pictures, as blocks bring them."""

    texts: list[str] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)

    @property
    def text(self) -> str:
        return _joined(*self.texts)

    @property
    def is_empty(self) -> bool:
        return not self.texts and not self.images

    def add(self, block: Block) -> None:
        if block.type == "image":
            self.images.append(_image(block))
        else:
            self.texts.append(_text(block))


def _image(block: Block) -> Image:
    if block.source is None or block.source.type != "base64":
        raise InvalidRequest(
            "an image needs a source of the type base64; a private mesh fetches nothing from elsewhere"
        )
    return image_of_base64(block.source.data)


def _text(block: Block) -> str:
    if block.type != "text":
        raise Unsupported(
            f"a block of the type {block.type[:100]!r} cannot be sent to a model of this mesh here"
        )
    return block.text


def _merged(turns: Iterable[Message]) -> list[Message]:
    """Join neighbouring turns of one speaker, as the dialect has it; many models' templates want them to alternate."""
    merged: list[Message] = []
    for turn in turns:
        last = merged[-1] if merged else None
        if last is None or last.speaker is not turn.speaker or turn.speaker is Speaker.TOOL:
            merged.append(turn)
            continue
        merged[-1] = replace(
            last,
            text=_joined(last.text, turn.text),
            images=last.images + turn.images,
            thinking=_joined(last.thinking, turn.thinking),
            tool_calls=last.tool_calls + turn.tool_calls,
        )
    return merged


def _joined(*texts: str) -> str:
    return BETWEEN_BLOCKS.join(text for text in texts if text)
