"""Answers in Anthropic's shape: whole, and as a stream whose blocks open, grow and close one after the other."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

import msgspec

from hub.gateway.anthropic.errors import described
from hub.gateway.asking import served
from hub.gateway.blocks import Added, Blocks, Closed, Kind, Opened, blocks_of
from hub.gateway.exchange import SSE
from hub.gateway.sse import named_event, waiting_comment, working_comment
from hubspoke.errors import InvalidOutput
from hubspoke.types import FinishReason

if TYPE_CHECKING:
    from hub.gateway.blocks import Block, Step
    from hubspoke.errors import MeshError
    from hubspoke.gathered import Answer
    from hubspoke.types import Delta, Finished, Started, Usage, Waiting

CALL_PREFIX: Final = "toolu_"

SIGNATURE: Final = "hubspoke"
"""Stands under every thought. Clients leave out of the history what is unsigned; nobody here checks it."""

PING: Final = named_event("ping", {"type": "ping"})

_REASONS: Final = {
    FinishReason.STOP: "end_turn",
    FinishReason.LENGTH: "max_tokens",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CANCELLED: "end_turn",
}


def message(answer: Answer) -> dict[str, object]:
    """Give a whole answer; raise InvalidOutput when what a tool is to be called with is no JSON object."""
    blocks = blocks_of(answer, CALL_PREFIX)
    is_cut = answer.finished.reason is FinishReason.LENGTH
    content = [block for closed in blocks if (block := _whole(closed, is_cut=is_cut)) is not None]
    has_calls = any(closed.block.kind is Kind.CALL for closed in blocks)
    return {
        **_head(new_id(), answer.started, content),
        **_stopped(answer.finished, has_calls=has_calls),
        "usage": _usage(answer.finished.usage),
    }


class MessageVoice:
    """An answer as a stream of events."""

    content_type = SSE

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._blocks = Blocks(CALL_PREFIX)

    def waiting(self, waiting: Waiting) -> bytes:
        """Ping, which clients pass over even before the message begins, and say why in a comment."""
        return waiting_comment(waiting) + PING

    def working(self, waiting: Waiting) -> bytes:
        """Ping, and say so in a comment."""
        return working_comment(waiting) + PING

    def started(self, started: Started) -> bytes:
        """Begin the message. What the prompt comes to is not known yet, and told at the end."""
        nothing = {"input_tokens": 0, "output_tokens": 0}
        begun = {**_head(new_id(), started, []), "usage": nothing}
        return _event("message_start", message=begun)

    def said(self, delta: Delta) -> bytes:
        """Send what the delta adds, in a block of its kind."""
        return b"".join(map(_step, self._blocks.take(delta)))

    def finished(self, finished: Finished) -> bytes:
        """Close the last block, and say why and at what cost the message ends."""
        told = _stopped(finished, has_calls=self._blocks.has_calls)
        return b"".join(
            (
                *map(_step, self._blocks.close()),
                _event("message_delta", delta=told, usage=_usage(finished.usage)),
                _event("message_stop"),
            )
        )

    def failed(self, error: MeshError) -> bytes:
        """Send the error; clients of Anthropic raise it."""
        return named_event("error", described(error, self._request_id))


def new_id() -> str:
    """Make the id of a message."""
    return f"msg_{secrets.token_hex(12)}"


def _head(message_id: str, started: Started, content: list[dict[str, object]]) -> dict[str, object]:
    """Give the fields of a message that are known when it begins, with what only a mesh has to say."""
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": started.model,
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
        "hubspoke": served(started),
    }


def _step(step: Step) -> bytes:
    match step:
        case Opened(block):
            return _event("content_block_start", index=block.index, content_block=_empty(block))
        case Added(block, text):
            return _event("content_block_delta", index=block.index, delta=_delta(block, text))
        case Closed(block):
            stop = _event("content_block_stop", index=block.index)
            if block.kind is not Kind.THINKING:
                return stop
            signed = {"type": "signature_delta", "signature": SIGNATURE}
            return _event("content_block_delta", index=block.index, delta=signed) + stop


def _empty(block: Block) -> dict[str, object]:
    match block.kind:
        case Kind.THINKING:
            return {"type": "thinking", "thinking": "", "signature": ""}
        case Kind.TEXT:
            return {"type": "text", "text": ""}
        case Kind.CALL:
            return {"type": "tool_use", "id": block.call_id, "name": block.name, "input": {}}


def _delta(block: Block, text: str) -> dict[str, object]:
    match block.kind:
        case Kind.THINKING:
            return {"type": "thinking_delta", "thinking": text}
        case Kind.TEXT:
            return {"type": "text_delta", "text": text}
        case Kind.CALL:
            return {"type": "input_json_delta", "partial_json": text}


def _whole(closed: Closed, *, is_cut: bool) -> dict[str, object] | None:
    """Give a block with its content; None for a call whose arguments the limit of tokens has cut."""
    empty = _empty(closed.block)
    match closed.block.kind:
        case Kind.THINKING:
            return {**empty, "thinking": closed.content, "signature": SIGNATURE}
        case Kind.TEXT:
            return {**empty, "text": closed.content}
        case Kind.CALL:
            try:
                given = msgspec.json.decode(closed.content or "{}", type=dict[str, object])
            except (msgspec.DecodeError, RecursionError) as error:
                if is_cut:
                    return None
                raise InvalidOutput(
                    f"the model has called {closed.block.name!r} with what is no JSON object; ask again"
                ) from error
            return {**empty, "input": given}


def _stopped(finished: Finished, *, has_calls: bool) -> dict[str, object]:
    """Say why the message ends, and by which stop sequence, where the engine tells: otherwise that is an end like others."""
    reason = _REASONS[finished.reason]
    if reason == "end_turn" and has_calls:
        reason = "tool_use"
    elif reason == "end_turn" and finished.stop:
        return {"stop_reason": "stop_sequence", "stop_sequence": finished.stop}
    return {"stop_reason": reason, "stop_sequence": None}


def _usage(cost: Usage) -> dict[str, object]:
    """Give what an answer has cost; what came from the engine's cache is counted apart here."""
    cached = min(cost.cached_tokens or 0, cost.prompt_tokens)
    return {
        "input_tokens": cost.prompt_tokens - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": cost.output_tokens,
    }


def _event(kind: str, **fields: object) -> bytes:
    return named_event(kind, {"type": kind, **fields})
