"""Requests and what happens to them. The spoke encodes deltas straight into the form that the client gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.api.types.v1 import types_pb2 as types_pb
from hubspoke.errors import InvalidRequest, ProtocolViolation
from hubspoke.types import (
    Delta,
    Event,
    Finished,
    Message,
    ModelKey,
    Priority,
    Request,
    Sampling,
    Speaker,
    SpokeId,
    Started,
    Usage,
    Waiting,
)
from hubspoke.wire import enums, times

if TYPE_CHECKING:
    from datetime import datetime

MODEL_BYTES_MAX: Final = 256
SESSION_KEY_BYTES_MAX: Final = 256
MESSAGES_MAX: Final = 10_000
STOPS_MAX: Final = 16
STOP_BYTES_MAX: Final = 256
TEMPERATURE_MAX: Final = 5.0


def request_to_wire(request: Request, deadline: datetime | None = None) -> pb.InferRequest:
    """Give a request as a message."""
    sampling = request.sampling
    message = pb.InferRequest(
        model=request.model,
        sampling=pb.Sampling(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=sampling.min_p,
            seed=sampling.seed,
        ),
        max_output_tokens=request.max_output_tokens,
        stop=request.stop,
        priority=enums.PRIORITY.to_wire(request.priority),
        deadline=None if deadline is None else times.timestamp(deadline),
        session_key=request.session_key,
    )
    if request.messages:
        turns = (pb.Message(speaker=enums.SPEAKER.to_wire(m.speaker), text=m.text) for m in request.messages)
        message.conversation.messages.extend(turns)
    else:
        message.prompt = request.prompt
    return message


def request_from_bytes(body: bytes) -> tuple[Request, datetime | None]:
    """Check an encoded request and give it with its deadline; raise InvalidRequest that names the field."""
    try:
        return request_from_wire(pb.InferRequest.FromString(body))
    except DecodeError as error:
        raise InvalidRequest("the request is no InferRequest; encode it with the published protos") from error


def request_from_wire(message: pb.InferRequest) -> tuple[Request, datetime | None]:
    """Check a request and give it with its deadline; raise InvalidRequest that names the field."""
    if not message.model:
        raise InvalidRequest("model is missing; `hubspoke models` lists what can be asked")
    _short("model", message.model, MODEL_BYTES_MAX)
    _short("session_key", message.session_key, SESSION_KEY_BYTES_MAX)
    if len(message.stop) > STOPS_MAX:
        raise InvalidRequest(f"stop has {len(message.stop)} texts; at most {STOPS_MAX} are taken")
    for stop in message.stop:
        _short("stop", stop, STOP_BYTES_MAX)
        if not stop:
            raise InvalidRequest("stop holds an empty text, which would end every answer at once")
    messages, prompt = _input(message)
    unset = message.priority == pb.PRIORITY_UNSPECIFIED
    request = Request(
        model=message.model,
        messages=messages,
        prompt=prompt,
        sampling=_sampling(message.sampling),
        max_output_tokens=message.max_output_tokens,
        stop=tuple(message.stop),
        priority=Priority.INTERACTIVE if unset else enums.PRIORITY.from_wire(message.priority),
        session_key=message.session_key,
    )
    return request, times.moment(message.deadline, "deadline") if message.HasField("deadline") else None


def event_from_wire(message: pb.InferResponse) -> Event | None:
    """Give a message of the response stream as an event; None for one of a newer version."""
    match message.WhichOneof("event"):
        case "delta":
            return Delta(text=message.delta.text, tokens=0)
        case "started":
            return _started(message.started)
        case "waiting":
            return Waiting(spoke=SpokeId(message.waiting.spoke) if message.waiting.spoke else None)
        case "finished":
            finished = message.finished
            return Finished(enums.FINISH_REASON.from_wire(finished.reason), usage_from_wire(finished.usage))
        case None:
            return None


def delta_bytes(text: str) -> bytes:
    """Encode some of an answer."""
    return pb.InferResponse(delta=pb.Delta(text=text)).SerializeToString()


def finished_bytes(finished: Finished) -> bytes:
    """Encode the end of an answer."""
    reason = enums.FINISH_REASON.to_wire(finished.reason)
    message = pb.InferResponse(finished=pb.Finished(reason=reason, usage=usage_to_wire(finished.usage)))
    return message.SerializeToString()


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
    return pb.InferResponse(waiting=pb.Waiting(cause=cause, spoke=waiting.spoke or "")).SerializeToString()


def usage_to_wire(usage: Usage) -> types_pb.Usage:
    """Give what an answer cost as a message."""
    return types_pb.Usage(
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        output_tokens=usage.output_tokens,
        prompt_time=None if usage.prompt_s is None else times.duration(usage.prompt_s),
        decode_time=None if usage.decode_s is None else times.duration(usage.decode_s),
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


def _started(message: pb.Started) -> Started:
    return Started(
        spoke=SpokeId(message.spoke),
        model=message.model,
        model_key=ModelKey(message.model_key),
        queue_s=times.seconds(message.queue_time),
        attempt=message.attempt,
        also_named=tuple(ModelKey(key) for key in message.also_named),
    )


def _input(message: pb.InferRequest) -> tuple[tuple[Message, ...], str]:
    match message.WhichOneof("input"):
        case "prompt":
            if not message.prompt:
                raise InvalidRequest("prompt is empty; give at least one byte to continue")
            return (), message.prompt
        case "conversation":
            return _messages(message.conversation), ""
        case None:
            raise InvalidRequest("input is missing; give a conversation or a prompt")


def _messages(conversation: pb.Conversation) -> tuple[Message, ...]:
    if not 1 <= len(conversation.messages) <= MESSAGES_MAX:
        raise InvalidRequest(
            f"conversation.messages has {len(conversation.messages)} entries; give 1 to {MESSAGES_MAX}"
        )
    messages = tuple(Message(enums.SPEAKER.from_wire(m.speaker), m.text) for m in conversation.messages)
    if any(not m.text and m.speaker is not Speaker.ASSISTANT for m in messages):
        raise InvalidRequest("a message of the conversation has no text; only the assistant's may be empty")
    return messages


def _sampling(message: pb.Sampling) -> Sampling:
    sampling = Sampling(
        temperature=message.temperature if message.HasField("temperature") else None,
        top_p=message.top_p if message.HasField("top_p") else None,
        top_k=message.top_k if message.HasField("top_k") else None,
        min_p=message.min_p if message.HasField("min_p") else None,
        seed=message.seed if message.HasField("seed") else None,
    )
    # Comparisons are written so that NaN fails them.
    if sampling.temperature is not None and not 0 <= sampling.temperature <= TEMPERATURE_MAX:
        raise InvalidRequest(f"temperature is {sampling.temperature}; give 0 to {TEMPERATURE_MAX:g}")
    if sampling.top_p is not None and not 0 < sampling.top_p <= 1:
        raise InvalidRequest(f"top_p is {sampling.top_p}; give more than 0 and at most 1")
    if sampling.min_p is not None and not 0 <= sampling.min_p <= 1:
        raise InvalidRequest(f"min_p is {sampling.min_p}; give 0 to 1")
    if sampling.top_k == 0:
        raise InvalidRequest("top_k is 0; give at least 1, or leave it out")
    return sampling


def _short(field: str, value: str, bytes_max: int) -> None:
    if len(value.encode()) > bytes_max:
        raise InvalidRequest(f"{field} is longer than {bytes_max} bytes")
