"""Whatever an engine sends, however it is cut: an answer that keeps the contract, or a MeshError."""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Final

from ollama import ChatResponse, GenerateResponse, ResponseError

from hubspoke.errors import MeshError
from hubspoke.types import Delta, Finished, FinishReason, JsonFormat, Message, Request, Speaker
from hubspoke.wire import answers
from spoke.engines.format_check import FormatCheck
from spoke.engines.ollama import answer as ollama_answer
from spoke.engines.ollama.errors import MID_STREAM
from spoke.engines.ollama.http import _as_ours
from spoke.engines.openai import answer as openai_answer
from spoke.engines.openai import models as openai_models
from spoke.engines.openai import props as openai_props
from spoke.engines.openai import vectors as openai_vectors
from spoke.engines.openai.errors import broken_off, refused
from spoke.engines.openai.models import Served
from spoke.engines.sse import ERROR, SseEvent, SseParser
from tests.fuzz import speech
from tests.fuzz.draw import Draw

CUTS_MAX: Final = 6
REQUEST: Final = Request("m", messages=(Message(Speaker.USER, "hello"),))


def sse(data: bytes) -> None:
    """Cut a stream anywhere: the same events come out."""
    draw = Draw(data)
    cuts = [draw.byte() for _ in range(draw.byte() % CUTS_MAX)]
    stream = draw.rest()
    places = sorted([0, *(cut % (len(stream) + 1) for cut in cuts), len(stream)])
    pieces = [stream[start:end] for start, end in pairwise(places)]
    single = [stream[place : place + 1] for place in range(len(stream))]
    assert _events(pieces) == _events([stream]) == _events(single)


def openai_engine(data: bytes) -> None:
    """Read a stream of chunks, and what else such a server answers."""
    draw = Draw(data)
    if draw.rarely():
        _other_answers(draw.rest())
        return
    if draw.rarely():
        stream = draw.rest()
    else:
        stream = "".join(f"data: {chunk}\n\n" for chunk in speech.chunks(draw)).encode()
    with suppress(MeshError):
        _check(*_answered(_events([stream])))


def ollama_engine(data: bytes) -> None:
    """Read the lines of an answer, as the package `ollama` brings them."""
    draw = Draw(data)
    is_chat = not draw.rarely()
    lines = draw.rest().splitlines() if draw.rarely() else speech.parts(draw, is_chat=is_chat)
    with suppress(MeshError):
        _check(*_ollama_answered(lines, is_chat=is_chat))


def _events(pieces: Iterable[bytes]) -> list[SseEvent]:
    parser = SseParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def _other_answers(body: bytes) -> None:
    openai_props.told(Served("m"), body)
    assert isinstance(refused(500, body), MeshError)
    for read in (openai_models.served, openai_vectors.made):
        with suppress(MeshError):
            read(body)


def _answered(events: Iterable[SseEvent]) -> tuple[list[Delta], Finished]:
    """Do what the client of such servers does with what it is sent."""
    answer, check = openai_answer.Answer(), FormatCheck(JsonFormat())
    deltas: list[Delta] = []
    for event in events:
        if event.kind == ERROR:
            raise broken_off(event.data.encode())
        if event.data == openai_answer.DONE:
            break
        deltas += answer.read(event.data)
    missing, finished = answer.finished()
    for delta in deltas:
        check.read(delta)
    with suppress(MeshError):
        check.finished(finished)
    return [*deltas, *missing], finished


def _ollama_answered(lines: Sequence[str | bytes], *, is_chat: bool) -> tuple[list[Delta], Finished]:
    """Do what the package and the client around it do with what they are sent."""
    answer = ollama_answer.Answer(REQUEST)
    deltas: list[Delta] = []
    with _as_ours():
        for line in lines:
            part = json.loads(line)
            if wrong := part.get("error"):
                raise ResponseError(wrong, MID_STREAM)
            if is_chat:
                deltas += answer.chatted(ChatResponse(**part))
            else:
                deltas += answer.continued(GenerateResponse(**part))
    return deltas, answer.finished()


def _check(deltas: list[Delta], finished: Finished) -> None:
    """Hold an answer to what the contract says of it."""
    assert answers.finished_bytes(finished)
    arguments: dict[int, str] = {}
    ids: set[str] = set()
    for delta in deltas:
        assert answers.delta_bytes(delta)
        assert [bool(delta.text), bool(delta.thinking), bool(delta.tool_calls)].count(True) == 1
        for part in delta.tool_calls:
            assert part.index in arguments or (part.id and part.name)
            assert part.id not in ids
            ids |= {part.id} - {""}
            arguments[part.index] = arguments.get(part.index, "") + part.arguments
    if finished.reason is not FinishReason.LENGTH:
        assert sorted(arguments) == list(range(len(arguments)))
        assert (finished.reason is FinishReason.TOOL_CALLS) == bool(arguments)
        assert all(isinstance(json.loads(made), dict) for made in arguments.values())
