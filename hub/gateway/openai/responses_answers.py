"""Answers as responses: objects that hold items, and streams of events that build them up."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hub.gateway.asking import served
from hub.gateway.blocks import Added, Blocks, Closed, Kind, Opened, blocks_of
from hub.gateway.exchange import SSE
from hub.gateway.openai.errors import described
from hub.gateway.openai.responses_bodies import TextConfig, TextFormat
from hub.gateway.sse import named_event, waiting_comment, working_comment
from hubspoke.types import FinishReason

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from hub.gateway.blocks import Block, Step
    from hub.gateway.openai.responses_bodies import ResponsesBody
    from hubspoke.errors import MeshError
    from hubspoke.gathered import Answer
    from hubspoke.types import Delta, Finished, Started, Usage, Waiting

CALL_PREFIX: Final = "call_"

_ITEM_PREFIXES: Final = {Kind.THINKING: "rs", Kind.TEXT: "msg", Kind.CALL: "fc"}
_DELTA_EVENTS: Final = {
    Kind.THINKING: "response.reasoning_text",
    Kind.TEXT: "response.output_text",
    Kind.CALL: "response.function_call_arguments",
}


class ResponseLabel:
    """What a response says of itself from its beginning to its end: its id, and what it was asked for."""

    def __init__(self, body: ResponsesBody, now: datetime) -> None:
        self._token = secrets.token_hex(12)
        self._asked: dict[str, object] = {
            "id": f"resp_{self._token}",
            "object": "response",
            "created_at": int(now.timestamp()),
            "background": False,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "metadata": body.metadata or {},
            "parallel_tool_calls": body.parallel_tool_calls is not False,
            "previous_response_id": None,
            "prompt_cache_key": body.prompt_cache_key,
            "reasoning": {"effort": body.reasoning.effort if body.reasoning else None, "summary": None},
            "store": False,
            "temperature": body.temperature,
            "text": body.text if body.text and body.text.format else TextConfig(TextFormat("text")),
            "tool_choice": body.tool_choice or "auto",
            "tools": body.tools or [],
            "top_p": body.top_p,
            "truncation": "disabled",
            "user": body.user,
        }

    def response(
        self,
        status: str,
        started: Started,
        output: list[dict[str, object]],
        *,
        cost: Usage | None = None,
        error: MeshError | None = None,
    ) -> dict[str, object]:
        """Give the response as it is now, with what only a mesh has to say."""
        return {
            **self._asked,
            "model": started.model,
            "status": status,
            "output": output,
            "usage": None if cost is None else _usage(cost),
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "error": None if error is None else {"code": "server_error", "message": error.message},
            "hubspoke": served(started),
        }

    def item_id(self, block: Block) -> str:
        """Give the id of the item that a block is."""
        return f"{_ITEM_PREFIXES[block.kind]}_{self._token}{block.index:02d}"

    def item(self, block: Block, content: str, status: str) -> dict[str, object]:
        """Give the item that a block is, as far as it has come."""
        head = {"id": self.item_id(block), "status": status}
        parts = [_part(block, content)] if content else []
        match block.kind:
            case Kind.THINKING:
                return {**head, "type": "reasoning", "summary": [], "content": parts}
            case Kind.TEXT:
                return {**head, "type": "message", "role": "assistant", "content": parts}
            case Kind.CALL:
                call = {"call_id": block.call_id, "name": block.name, "arguments": content}
                return {**head, "type": "function_call", **call}

    def whole(self, answer: Answer) -> dict[str, object]:
        """Give the response that a whole answer is."""
        status = _status(answer.finished)
        output = self.items(blocks_of(answer, CALL_PREFIX), status)
        return self.response(status, answer.started, output, cost=answer.finished.usage)

    def items(self, blocks: Iterable[Closed], status: str) -> list[dict[str, object]]:
        """Give the items that *blocks* are; the last of them ended as *status* says."""
        output = [self.item(closed.block, _content(closed), "completed") for closed in blocks]
        if output:
            output[-1]["status"] = status
        return output


class ResponseVoice:
    """A response as a stream of numbered events."""

    content_type = SSE

    def __init__(self, label: ResponseLabel) -> None:
        self._label = label
        self._blocks = Blocks(CALL_PREFIX)
        self._closed: list[Closed] = []
        self._sequence = 0
        self._started: Started | None = None

    def waiting(self, waiting: Waiting) -> bytes:
        """Say so in a comment, which clients pass over."""
        return waiting_comment(waiting)

    def working(self, waiting: Waiting) -> bytes:
        """Say so in a comment."""
        return working_comment(waiting)

    def started(self, started: Started) -> bytes:
        """Begin the response."""
        self._started = started
        self._sequence = 0  # a start again has not been heard, so none of its events counts twice
        begun = self._label.response("in_progress", started, [])
        return self._event("response.created", response=begun) + self._event(
            "response.in_progress", response=begun
        )

    def said(self, delta: Delta) -> bytes:
        """Send what the delta adds, in an item of its kind."""
        return b"".join(self._step(step, "completed") for step in self._blocks.take(delta))

    def finished(self, finished: Finished) -> bytes:
        """Close the last item, and send the whole response."""
        status = _status(finished)
        closing = b"".join(self._step(step, status) for step in self._blocks.close())
        return closing + self._end(status, cost=finished.usage)

    def failed(self, error: MeshError) -> bytes:
        """Send the error, and the response as far as it had come."""
        told = described(error)
        self._closed += [step for step in self._blocks.close() if isinstance(step, Closed)]
        event = self._event("error", code=told["code"], message=error.message, param=None)
        return event + self._end("failed", error=error)

    def _end(self, status: str, *, cost: Usage | None = None, error: MeshError | None = None) -> bytes:
        if self._started is None:
            return b""  # it failed before there was a response
        output = self._label.items(self._closed, status if error is None else "incomplete")
        response = self._label.response(status, self._started, output, cost=cost, error=error)
        return self._event(f"response.{status}", response=response)

    def _step(self, step: Step, status: str) -> bytes:
        block = step.block
        match step:
            case Opened():
                item = self._label.item(block, "", "in_progress")
                added = self._event("response.output_item.added", output_index=block.index, item=item)
                if block.kind is Kind.CALL:
                    return added
                return added + self._of_part("response.content_part.added", block, part=_part(block, ""))
            case Added(_, text):
                self._amend(block, text)
                return self._of_part(f"{_DELTA_EVENTS[block.kind]}.delta", block, delta=text)
            case Closed():
                self._closed.append(step)
                return self._close(block, _content(step), status)

    def _amend(self, block: Block, text: str) -> None:
        """Let the whole response, which comes last, have what an engine adds to a call that has ended already."""
        if block.index < len(self._closed):
            closed = self._closed[block.index]
            self._closed[block.index] = replace(closed, content=closed.content + text)

    def _close(self, block: Block, content: str, status: str) -> bytes:
        done = f"{_DELTA_EVENTS[block.kind]}.done"
        if block.kind is Kind.CALL:
            ended = self._of_part(done, block, arguments=content, name=block.name)
        else:
            ended = self._of_part(done, block, text=content)
            ended += self._of_part("response.content_part.done", block, part=_part(block, content))
        item = self._label.item(block, content, status)
        return ended + self._event("response.output_item.done", output_index=block.index, item=item)

    def _of_part(self, kind: str, block: Block, **fields: object) -> bytes:
        """Write an event of an item's only part; a call has none."""
        where: dict[str, object] = {"item_id": self._label.item_id(block), "output_index": block.index}
        if block.kind is not Kind.CALL:
            where["content_index"] = 0
        if kind.startswith("response.output_text"):
            where["logprobs"] = []
        return self._event(kind, **where, **fields)

    def _event(self, kind: str, **fields: object) -> bytes:
        numbered = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return named_event(kind, numbered)


def _part(block: Block, content: str) -> dict[str, object]:
    if block.kind is Kind.THINKING:
        return {"type": "reasoning_text", "text": content}
    return {"type": "output_text", "text": content, "annotations": [], "logprobs": []}


def _content(closed: Closed) -> str:
    """Give all of a block; a call without arguments has an empty object."""
    return closed.content or ("{}" if closed.block.kind is Kind.CALL else "")


def _status(finished: Finished) -> str:
    return "incomplete" if finished.reason is FinishReason.LENGTH else "completed"


def _usage(cost: Usage) -> dict[str, object]:
    """Give what an answer has cost. What of it was thought, engines do not tell apart."""
    return {
        "input_tokens": cost.prompt_tokens,
        "input_tokens_details": {"cached_tokens": cost.cached_tokens or 0, "cache_write_tokens": 0},
        "output_tokens": cost.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": cost.prompt_tokens + cost.output_tokens,
    }
