"""What happens to a request. The spoke encodes its answer straight into the form that the client gets.

What the hub itself says, that something waits or has started, is encoded alike for questions and for texts that become
vectors: the contract keeps those fields at the same numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.api.types.v1 import types_pb2 as types_pb
from hubspoke.errors import EngineProtocol, ProtocolViolation
from hubspoke.types import (
    PIECES_MAX,
    Delta,
    Embeddings,
    EmbedEvent,
    Event,
    Finished,
    ModelKey,
    SpokeId,
    Started,
    ToolCallPart,
    Usage,
    Waiting,
)
from hubspoke.wire import enums, times

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration


def event_from_wire(message: pb.InferResponse) -> Event | None:
    """Give a message of the response stream as an event; None for one of a newer version."""
    match message.WhichOneof("event"):
        case "delta":
            return _delta(message.delta)
        case "started":
            return _started(message.started)
        case "waiting":
            return _waiting(message.waiting)
        case "finished":
            return _finished(message.finished)
        case None:
            return None


def embed_event_from_wire(message: pb.EmbedResponse) -> EmbedEvent | None:
    """Give a message of the response stream as an event; None for one of a newer version."""
    match message.WhichOneof("event"):
        case "embeddings":
            vectors = tuple(tuple(vector.values) for vector in message.embeddings.embeddings)
            return Embeddings(message.embeddings.first, vectors)
        case "started":
            return _started(message.started)
        case "waiting":
            return _waiting(message.waiting)
        case "finished":
            return _finished(message.finished)
        case None:
            return None


def event_from_bytes(body: bytes) -> Event | None:
    """Give an encoded message of the response stream as an event; raise EngineProtocol for what is none."""
    try:
        return event_from_wire(pb.InferResponse.FromString(body))
    except DecodeError as error:
        raise EngineProtocol("the spoke has sent what cannot be read; is its version the hub's?") from error


def embed_event_from_bytes(body: bytes) -> EmbedEvent | None:
    """Give an encoded message of the response stream of vectors as an event; raise EngineProtocol for what is none."""
    try:
        return embed_event_from_wire(pb.EmbedResponse.FromString(body))
    except DecodeError as error:
        raise EngineProtocol("the spoke has sent what cannot be read; is its version the hub's?") from error


def delta_bytes(delta: Delta) -> bytes:
    """Encode some of an answer."""
    calls = [
        pb.ToolCallPart(index=part.index, id=part.id, name=part.name, arguments=part.arguments)
        for part in delta.tool_calls
    ]
    message = pb.Delta(
        text=delta.text, thinking=delta.thinking, tool_calls=calls, piece_lengths=delta.piece_lengths
    )
    return pb.InferResponse(delta=message).SerializeToString()


def embeddings_bytes(embeddings: Embeddings) -> bytes:
    """Encode some of the vectors."""
    message = pb.Embeddings(
        first=embeddings.first, embeddings=[pb.Embedding(values=vector) for vector in embeddings.vectors]
    )
    return pb.EmbedResponse(embeddings=message).SerializeToString()


def finished_bytes(finished: Finished) -> bytes:
    """Encode the end of an answer."""
    reason = enums.FINISH_REASON.to_wire(finished.reason)
    message = pb.Finished(reason=reason, usage=usage_to_wire(finished.usage), stop=finished.stop)
    return pb.InferResponse(finished=message).SerializeToString()


def started_bytes(started: Started) -> bytes:
    """Encode where an answer is made."""
    message = pb.Started(
        spoke=started.spoke,
        model=started.model,
        model_key=started.model_key,
        queue_time=times.duration(started.queue_s),
        attempt=started.attempt,
        also_named=started.also_named,
    )
    return pb.InferResponse(started=message).SerializeToString()


def waiting_bytes(waiting: Waiting) -> bytes:
    """Encode why nothing runs yet."""
    cause = pb.Waiting.CAUSE_QUEUED if waiting.spoke is None else pb.Waiting.CAUSE_LOADING
    is_silent = waiting.silent_s is not None
    message = pb.Waiting(
        cause=pb.Waiting.CAUSE_SILENT if is_silent else cause,
        spoke=waiting.spoke or "",
        elapsed=times.duration_or_none(waiting.silent_s if is_silent else waiting.elapsed_s),
        expected=times.duration_or_none(waiting.expected_s),
    )
    return pb.InferResponse(waiting=message).SerializeToString()


def usage_to_wire(usage: Usage) -> types_pb.Usage:
    """Give what an answer cost as a message."""
    return types_pb.Usage(
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        output_tokens=usage.output_tokens,
        prompt_time=times.duration_or_none(usage.prompt_s),
        decode_time=times.duration_or_none(usage.decode_s),
    )


def usage_from_wire(message: types_pb.Usage) -> Usage:
    """Give a message as what an answer cost; raise ProtocolViolation for negative times."""
    usage = Usage(
        prompt_tokens=message.prompt_tokens,
        cached_tokens=message.cached_tokens if message.HasField("cached_tokens") else None,
        output_tokens=message.output_tokens,
        prompt_s=times.seconds(message.prompt_time) if message.HasField("prompt_time") else None,
        decode_s=times.seconds(message.decode_time) if message.HasField("decode_time") else None,
    )
    if min(usage.prompt_s or 0, usage.decode_s or 0) < 0:
        raise ProtocolViolation("usage holds a negative time")
    return usage


def _delta(message: pb.Delta) -> Delta:
    calls = message.tool_calls
    # Nearly always there are none, and this is done for every message of every answer.
    parts = (
        tuple(ToolCallPart(part.index, part.id, part.name, part.arguments) for part in calls) if calls else ()
    )
    lengths = tuple(message.piece_lengths)
    if lengths:
        if len(lengths) > PIECES_MAX:
            raise ProtocolViolation(f"a delta has {len(lengths)} pieces; at most {PIECES_MAX} are taken")
        if 0 in lengths or sum(lengths) != len(message.text or message.thinking):
            raise ProtocolViolation("the pieces of a delta are not what it is made of")
    return Delta(message.text, 0, message.thinking, parts, lengths)


def _started(message: pb.Started) -> Started:
    return Started(
        spoke=SpokeId(message.spoke),
        model=message.model,
        model_key=ModelKey(message.model_key),
        queue_s=times.seconds(message.queue_time),
        attempt=message.attempt,
        also_named=tuple(ModelKey(key) for key in message.also_named),
    )


def _waiting(message: pb.Waiting) -> Waiting:
    def told(field: Duration, *, known: bool) -> float | None:
        return times.seconds(field) if known else None

    is_silent = message.cause == pb.Waiting.CAUSE_SILENT
    elapsed_s = told(message.elapsed, known=message.HasField("elapsed"))
    return Waiting(
        spoke=SpokeId(message.spoke) if message.spoke else None,
        elapsed_s=None if is_silent else elapsed_s,
        silent_s=(elapsed_s or 0.0) if is_silent else None,
        expected_s=told(message.expected, known=message.HasField("expected")),
    )


def _finished(message: pb.Finished) -> Finished:
    reason = enums.FINISH_REASON.from_wire(message.reason)
    return Finished(reason, usage_from_wire(message.usage), message.stop)
