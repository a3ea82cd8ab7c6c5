"""Every dialect tells the same answer, and whoever listens in that dialect hears it whole, and nothing else."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import msgspec

from hub.gateway.anthropic.answers import MessageVoice
from hub.gateway.asking import Voice
from hub.gateway.ollama.lines import CHAT, GENERATE, Form, Heading, LineVoice
from hub.gateway.openai.chat import ChatVoice, Label, TextVoice
from hub.gateway.openai.responses_answers import ResponseLabel, ResponseVoice
from hub.gateway.openai.responses_bodies import ResponsesBody
from hubspoke.errors import MeshError
from hubspoke.types import FinishReason
from tests.fuzz import blocks, reading
from tests.fuzz.draw import Draw
from tests.fuzz.reading import Json
from tests.fuzz.stories import Call, Heard, Story, story

NOW: Final = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
CHAT_REASONS: Final = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.TOOL_CALLS: "tool_calls",
    FinishReason.CANCELLED: "stop",
}


def writers(data: bytes) -> None:
    """Tell one story in every dialect."""
    draw = Draw(data)
    wants_usage = draw.flag()
    told = story(draw)
    _chat(told, wants_usage=wants_usage)
    _text(told, wants_usage=wants_usage)
    _response(told)
    _message(told)
    for form in (CHAT, GENERATE):
        _lines(told, form)


def _told(told: Story, voice: Voice) -> bytes:
    """Give the stream as the gateway writes it: a second start is heard by nobody."""
    pieces = [voice.waiting(waiting) for waiting in told.waits]
    pieces += [voice.started(started) for started in told.starts][:1]
    pieces += [voice.said(delta) for delta in told.deltas]
    pieces.append(voice.failed(told.end) if isinstance(told.end, MeshError) else voice.finished(told.end))
    return b"".join(pieces)


def _error_of(told: Story) -> MeshError | None:
    return told.end if isinstance(told.end, MeshError) else None


def _chat(told: Story, *, wants_usage: bool) -> None:
    voice = ChatVoice(Label.new("chatcmpl", "chat.completion.chunk", NOW), wants_usage=wants_usage)
    contents = reading.chunks(_told(told, voice), failed=_error_of(told))
    assert reading.heard_in_chat(contents) == told.heard
    if told.starts:
        assert contents[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    _end_of_chunks(told, contents, wants_usage=wants_usage)


def _text(told: Story, *, wants_usage: bool) -> None:
    voice = TextVoice(Label.new("cmpl", "text_completion", NOW), wants_usage=wants_usage)
    contents = reading.chunks(_told(told, voice), failed=_error_of(told))
    texts = (choice["text"] for content in contents for choice in content["choices"])
    assert "".join(texts) == told.heard.text
    _end_of_chunks(told, contents, wants_usage=wants_usage)


def _end_of_chunks(told: Story, contents: list[Json], *, wants_usage: bool) -> None:
    """See that the reason is told once and last, but for the usage of whoever wants it."""
    if isinstance(told.end, MeshError):
        assert reading.reasons(contents) == []
        return
    assert reading.reasons(contents) == [CHAT_REASONS[told.end.reason]]
    if wants_usage:
        last = contents.pop()
        assert last["choices"] == []
        assert last["usage"]["completion_tokens"] == told.end.usage.output_tokens
    assert reading.reasons(contents[-1:]) != []


def _response(told: Story) -> None:
    label = ResponseLabel(ResponsesBody(model="m", input="hello"), NOW)
    read = reading.events(_told(told, ResponseVoice(label)))
    contents = [event.content for event in read]
    assert [event.name for event in read] == [content["type"] for content in contents]
    assert [content["sequence_number"] for content in contents] == list(range(len(contents)))
    if isinstance(told.end, MeshError):
        position = -2 if told.starts else -1
        assert contents.pop(position)["message"] == told.end.message
        assert not told.starts or contents[-1]["response"]["error"]["message"] == told.end.message
    if told.starts:
        _same_blocks(blocks.of_response(contents), told.heard)
        blocks.check_end_of_response(contents, told)


def _message(told: Story) -> None:
    read = reading.events(_told(told, MessageVoice("req_1")))
    contents = [event.content for event in read if event.name != "ping"]
    assert all(event.name == event.content["type"] for event in read)
    if isinstance(told.end, MeshError):
        last = contents.pop()
        assert (last["type"], last["error"]["message"]) == ("error", told.end.message)
    else:
        assert [content["type"] for content in contents[-2:]] == ["message_delta", "message_stop"]
        assert contents[-2]["usage"]["output_tokens"] == told.end.usage.output_tokens
        del contents[-2:]
    if told.starts:
        assert contents[0]["type"] == "message_start"
    is_whole = not isinstance(told.end, MeshError)
    _same_blocks(blocks.of_message(contents[1:], is_whole=is_whole), told.heard)


def _same_blocks(heard: Heard, expected: Heard) -> None:
    """Compare by the order of calls: these dialects number all blocks of an answer, and make up ids that are missing."""
    assert (heard.text, heard.thinking) == (expected.text, expected.thinking)
    for call, wanted in zip(heard.in_order(), expected.in_order(), strict=True):
        assert call.id == wanted.id or (call.id and not wanted.id)
        assert (call.name, call.arguments) == (wanted.name, wanted.arguments)


def _lines(told: Story, form: Form) -> None:
    voice = LineVoice(Heading("tiny", NOW, 1.0), form, _clock())
    contents = reading.lines(_told(told, voice))
    last = contents.pop()
    if isinstance(told.end, MeshError):
        assert last["error"] == told.end.message
    else:
        assert last["done"] is True
        assert last["eval_count"] == told.end.usage.output_tokens
    assert all(content["done"] is False for content in contents)
    said = [content["message"] if form is CHAT else content for content in contents]
    text = "content" if form is CHAT else "response"
    assert "".join(piece[text] for piece in said) == told.heard.text
    assert "".join(piece.get("thinking", "") for piece in said) == told.heard.thinking
    if form is CHAT:
        called = [call for piece in said for call in piece.get("tool_calls", ())]
        assert called == ([] if isinstance(told.end, MeshError) else _whole_calls(told.heard))


def _whole_calls(heard: Heard) -> list[Json]:
    """Give the calls that are whole as Ollama tells them; arguments that are no object are not told at all."""
    calls = [heard.calls[number] for number in sorted(heard.calls)]
    return [
        {"id": call.id, "function": {"index": index, "name": call.name, "arguments": arguments}}
        for index, call in enumerate(calls)
        if (arguments := _object(call)) is not None
    ]


def _object(call: Call) -> Json | None:
    """Read arguments as the hub does; Python's own reader would take NaN, and round what is written back."""
    try:
        read = msgspec.json.decode(call.arguments or "{}", type=dict[str, object])
    except (msgspec.DecodeError, RecursionError):
        return None
    return json.loads(json.dumps(read))


def _clock() -> Callable[[], float]:
    return iter([3.5]).__next__
