"""The turns of a conversation, and what may stand in whose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.errors import InvalidRequest
from hubspoke.types import Image, Message, Speaker, ToolCall
from hubspoke.wire import enums
from hubspoke.wire.checks import named, parse, short

if TYPE_CHECKING:
    from collections.abc import Iterable

MESSAGES_MAX: Final = 10_000
IMAGES_MAX: Final = 32
"""Of one turn."""
CALLS_MAX: Final = 128
"""Of one turn."""
CALL_ID_BYTES_MAX: Final = 256

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
_GIFS: Final = (b"GIF87a", b"GIF89a")
_RIFF: Final = b"RIFF"
_WEBP: Final = b"WEBP"


def messages_to_wire(messages: Iterable[Message]) -> list[pb.Message]:
    """Give the turns of a conversation as messages."""
    return [
        pb.Message(
            speaker=enums.SPEAKER.to_wire(turn.speaker),
            text=turn.text,
            images=[pb.Image(data=image.data) for image in turn.images],
            thinking=turn.thinking,
            tool_calls=[
                pb.ToolCall(id=call.id, name=call.name, arguments=call.arguments) for call in turn.tool_calls
            ],
            tool_call_id=turn.tool_call_id,
            tool_name=turn.tool_name,
        )
        for turn in messages
    ]


def messages_from_wire(conversation: pb.Conversation) -> tuple[Message, ...]:
    """Give the turns of a conversation, which nobody has checked yet; raise InvalidRequest when there is none."""
    if not conversation.messages:
        raise InvalidRequest(f"conversation.messages has 0 entries; give 1 to {MESSAGES_MAX}")
    return tuple(_turn(message) for message in conversation.messages)


def check_turns(messages: tuple[Message, ...]) -> None:
    """Check the turns of a conversation; raise InvalidRequest that names the field."""
    if len(messages) > MESSAGES_MAX:
        raise InvalidRequest(f"conversation.messages has {len(messages)} entries; give 1 to {MESSAGES_MAX}")
    for turn in messages:
        _check_place(turn)
        _check_images(turn.images)
        _check_calls(turn.tool_calls)
        short("tool_call_id", turn.tool_call_id, CALL_ID_BYTES_MAX)
        if turn.tool_name:
            named("tool_name", turn.tool_name)


def media_type(data: bytes) -> str:
    """Say what kind of picture *data* is, "image/png" for one; "" for what is none that we know."""
    if data.startswith(_PNG):
        return "image/png"
    if data.startswith(_JPEG):
        return "image/jpeg"
    if data.startswith(_GIFS):
        return "image/gif"
    return "image/webp" if data.startswith(_RIFF) and data[8:12] == _WEBP else ""


def _turn(message: pb.Message) -> Message:
    return Message(
        speaker=enums.SPEAKER.from_wire(message.speaker),
        text=message.text,
        images=tuple(Image(image.data) for image in message.images),
        thinking=message.thinking,
        tool_calls=tuple(ToolCall(call.name, call.arguments, call.id) for call in message.tool_calls),
        tool_call_id=message.tool_call_id,
        tool_name=message.tool_name,
    )


def _check_place(turn: Message) -> None:
    """Refuse what does not belong into a turn of its speaker, and a turn that says nothing."""
    speaker = turn.speaker
    if turn.images and speaker is not Speaker.USER:
        raise InvalidRequest(f"a turn of the {speaker} has images; only the user's may")
    if (turn.thinking or turn.tool_calls) and speaker is not Speaker.ASSISTANT:
        raise InvalidRequest(f"a turn of the {speaker} has thinking or tool calls; only the assistant's may")
    if speaker is Speaker.TOOL and not turn.tool_name:
        raise InvalidRequest("a tool's turn does not say which tool it is; set tool_name")
    if speaker is not Speaker.TOOL and (turn.tool_name or turn.tool_call_id):
        raise InvalidRequest(f"a turn of the {speaker} names a tool; only a tool's may")
    may_be_empty = speaker in {Speaker.ASSISTANT, Speaker.TOOL} or turn.images
    if not turn.text and not may_be_empty:
        raise InvalidRequest(f"a turn of the {speaker} has no text; leave it out")


def _check_images(images: tuple[Image, ...]) -> None:
    if len(images) > IMAGES_MAX:
        raise InvalidRequest(f"a turn has {len(images)} images; at most {IMAGES_MAX} are taken")
    if not all(media_type(image.data) for image in images):
        raise InvalidRequest("an image is neither PNG, JPEG, WebP nor GIF; convert it")


def _check_calls(calls: tuple[ToolCall, ...]) -> None:
    if len(calls) > CALLS_MAX:
        raise InvalidRequest(f"a turn has {len(calls)} tool calls; at most {CALLS_MAX} are taken")
    for call in calls:
        named("tool_calls.name", call.name)
        parse("tool_calls.arguments", call.arguments, dict[str, msgspec.Raw], "a JSON object")
        short("tool_calls.id", call.id, CALL_ID_BYTES_MAX)
