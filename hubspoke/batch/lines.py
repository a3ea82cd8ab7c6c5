"""Lines of a batch, read into requests. What cannot be done is refused with the number of its line, before anything begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec

from hubspoke.errors import InvalidRequest
from hubspoke.types import Effort, JsonFormat, Message, Priority, Request, Sampling, Speaker
from hubspoke.wire.requests import request_from_wire, request_to_wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

LINES_MAX: Final = 50_000
"""As OpenAI takes; no more than 200 delegations, of the 1,000 that a hub keeps open."""

LINE_BYTES_MAX: Final = 1024 * 1024
FILE_BYTES_MAX: Final = 200 * 1024 * 1024
ID_CHARS_MAX: Final = 120
"""As long as the title of a subtask, which an id has to fit into."""

URL: Final = "/v1/chat/completions"
_UINT32_MAX: Final = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Line:
    """What one line asks, under the id that its answer goes by."""

    number: int
    id: str
    request: Request = field(repr=False)


def read_lines(file: BinaryIO, model: str = "") -> Iterator[Line]:
    """Give the lines of *file*, for *model*, or for those that they name when it is empty.

    Raise InvalidRequest that names the first line that cannot be done. Empty lines are passed over.
    """
    seen: dict[str, int] = {}
    total = 0
    for number, text in enumerate(_bounded(file), start=1):
        total += len(text)
        if len(text) > LINE_BYTES_MAX:
            _refuse(number, f"it is longer than {LINE_BYTES_MAX} bytes")
        if total > FILE_BYTES_MAX:
            _refuse(number, f"the file is longer than {FILE_BYTES_MAX} bytes here; split it")
        if not text.strip():
            continue
        if len(seen) == LINES_MAX:
            _refuse(number, f"a batch has at most {LINES_MAX} lines; split the file")
        line = _line(number, text, model)
        if (first := seen.setdefault(line.id, number)) != number:
            _refuse(number, f"line {first} has the id {line.id!r} too; give each its own")
        yield line


class _Part(msgspec.Struct):
    type: str
    text: str = ""


class _Turn(msgspec.Struct, forbid_unknown_fields=True):
    role: str
    content: str | list[_Part]
    name: str | None = None


class _Schema(msgspec.Struct):
    schema: dict[str, object]


class _Format(msgspec.Struct):
    type: str
    json_schema: _Schema | None = None


class _Body(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A chat completion, as far as it can be done in a batch."""

    messages: list[_Turn]
    model: str = ""
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repeat_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    response_format: _Format | None = None
    reasoning_effort: str | None = None
    n: int | None = None
    stream: bool | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None


class _Openai(msgspec.Struct, forbid_unknown_fields=True):
    custom_id: str
    body: _Body
    method: str = "POST"
    url: str = URL


class _Simple(msgspec.Struct, forbid_unknown_fields=True):
    id: str | int
    prompt: str | None = None
    messages: list[_Turn] | None = None
    max_tokens: int | None = None


class _Which(msgspec.Struct):
    body: msgspec.Raw = msgspec.Raw()


def _bounded(file: BinaryIO) -> Iterable[bytes]:
    """Give lines, of one that is too long only so much that this can be seen."""
    return iter(lambda: file.readline(LINE_BYTES_MAX + 1), b"")


def _line(number: int, text: bytes, model: str) -> Line:
    try:
        if msgspec.json.decode(text, type=_Which).body == msgspec.Raw():
            simple = msgspec.json.decode(text, type=_Simple)
            id_, request = str(simple.id), _request(_spelled_out(simple), model)
        else:
            batch = msgspec.json.decode(text, type=_Openai)
            if (batch.method, batch.url) != ("POST", URL):
                _refuse(number, f"it is no POST of {URL}, which is all that a batch can do")
            id_, request = batch.custom_id, _request(batch.body, model)
        # What the hub would refuse is refused here, with its line.
        request_from_wire(request_to_wire(request))
    except msgspec.ValidationError as error:
        _refuse(number, f"it does not fit: {error}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _refuse(number, f"it is no JSON: {error}")
    except InvalidRequest as error:
        _refuse(number, error.message)
    if not (id_.isprintable() and " ".join(id_.split()) == id_ and 1 <= len(id_) <= ID_CHARS_MAX):
        _refuse(number, f"its id is not 1 to {ID_CHARS_MAX} printable characters with single blanks")
    return Line(number, id_, request)


def _spelled_out(simple: _Simple) -> _Body:
    if (simple.prompt is None) == (simple.messages is None):
        raise InvalidRequest("it has to have a prompt or messages, and not both")
    turns = simple.messages if simple.prompt is None else [_Turn("user", simple.prompt)]
    return _Body(messages=turns or [], max_tokens=simple.max_tokens)


def _request(body: _Body, model: str) -> Request:
    if (body.n or 1) != 1 or body.stream:
        raise InvalidRequest("a line has one answer, and no stream of it; leave out n and stream")
    if not (model or body.model):
        raise InvalidRequest("it names no model; give one with --model")
    limit = body.max_completion_tokens or body.max_tokens or 0
    if not 0 <= limit <= _UINT32_MAX:
        raise InvalidRequest(f"max_tokens is {limit}; give at least 1, or leave it out")
    return Request(
        model=model or body.model,
        messages=tuple(map(_message, body.messages)),
        sampling=Sampling(
            temperature=body.temperature,
            top_p=body.top_p,
            top_k=body.top_k,
            min_p=body.min_p,
            seed=body.seed,
            frequency_penalty=body.frequency_penalty or None,
            presence_penalty=body.presence_penalty or None,
            repeat_penalty=body.repeat_penalty,
        ),
        max_output_tokens=limit,
        stop=(body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ()),
        priority=Priority.BATCH,
        format=_format(body.response_format),
        thinking=_effort(body.reasoning_effort),
    )


def _message(turn: _Turn) -> Message:
    speaker = _SPEAKERS.get(turn.role)
    if speaker is None:
        raise InvalidRequest(f"messages.role is {turn.role[:64]!r}; a batch takes {', '.join(_SPEAKERS)}")
    if isinstance(turn.content, str):
        return Message(speaker, turn.content)
    if other := next((part.type for part in turn.content if part.type != "text"), None):
        raise InvalidRequest(
            f"messages.content has a part of the type {other[:64]!r}; a batch takes text alone"
        )
    return Message(speaker, "\n".join(part.text for part in turn.content))


def _format(wanted: _Format | None) -> JsonFormat | None:
    match wanted.type if wanted is not None else "text":
        case "text":
            return None
        case "json_object":
            return JsonFormat()
        case "json_schema" if wanted is not None and wanted.json_schema is not None:
            return JsonFormat(msgspec.json.encode(wanted.json_schema.schema).decode())
        case _:
            raise InvalidRequest("response_format must be text, json_object, or json_schema with a schema")


def _effort(named: str | None) -> Effort | None:
    try:
        return None if named is None else Effort(named)
    except ValueError as error:
        raise InvalidRequest(f"reasoning_effort is {named!r}; give {', '.join(Effort)}") from error


def _refuse(number: int, why: str) -> NoReturn:
    raise InvalidRequest(f"line {number}: {why}")


_SPEAKERS: Final = {
    "system": Speaker.SYSTEM,
    "developer": Speaker.SYSTEM,
    "user": Speaker.USER,
    "assistant": Speaker.ASSISTANT,
}
