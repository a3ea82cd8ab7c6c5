"""What crosses the wire arrives as it left; what is no message becomes our own error, and nothing else."""

import math
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime

import grpc
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.api.types.v1 import types_pb2 as types_pb
from hubspoke.errors import (
    STATUS,
    EngineProtocol,
    InternalError,
    InvalidRequest,
    MeshError,
    ProtocolViolation,
    from_reason,
)
from hubspoke.types import (
    PIECES_MAX,
    Delta,
    Embeddings,
    EmbedRequest,
    Finished,
    Inventory,
    LoadEvent,
    ModelSummary,
    PullEvent,
    PullStep,
    Request,
    SpokeStatus,
    Started,
    Usage,
    Waiting,
)
from hubspoke.wire import allowed, answers, fleet, inventory, requests, status, times, upkeep
from tests.property.wire_values import (
    OF_A_SPOKE,
    asks,
    deltas,
    embed_asks,
    faults,
    figures,
    finishes,
    garbage,
    int64s,
    inventories,
    kinds,
    load_events,
    moments,
    pull_events,
    shown_text,
    some_text,
    spoilt,
    spokes,
    starts,
    summaries,
    texts,
    uint64s,
    usages,
    vectors,
    waits,
)

NANOSECOND = 1e-9


@given(inventories)
def test_an_inventory_survives_the_wire(value: Inventory):
    assert inventory.from_wire(inventory.to_wire(value)) == value


@given(inventories, st.text(st.characters(exclude_categories=["Cs"]), max_size=2 * inventory.FAULT_CHARS_MAX))
def test_a_fault_arrives_short_and_fit_for_a_terminal(value: Inventory, fault: str):
    message = inventory.to_wire(value)
    message.engines.add(name="embedded", fault=fault)
    told = inventory.from_wire(message).engines[-1].fault
    assert told.isprintable()
    assert len(told) == min(len(fault), inventory.FAULT_CHARS_MAX)


@given(garbage)
def test_bytes_that_are_no_inventory_are_an_invalid_one(body: bytes):
    with suppress(DecodeError, InvalidRequest):
        inventory.from_wire(types_pb.Inventory.FromString(body))


@given(asks, st.none() | moments)
def test_a_request_survives_the_wire(request: Request, deadline: datetime | None):
    body = requests.request_to_wire(request, deadline).SerializeToString()
    assert requests.request_from_bytes(body) == (request, deadline)


@given(garbage)
def test_bytes_that_are_no_request_are_an_invalid_one(body: bytes):
    try:
        request, _ = requests.request_from_bytes(body)
    except InvalidRequest:
        return
    assert request.model


@given(asks, st.data())
def test_a_damaged_request_is_an_invalid_one_or_a_request(request: Request, data: st.DataObject):
    whole = requests.request_to_wire(request).SerializeToString()
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 8)))
    damaged = whole[:start] + data.draw(st.binary(max_size=8)) + whole[end:]
    try:
        again, deadline = requests.request_from_bytes(damaged)
    except InvalidRequest:
        return
    rewritten = requests.request_to_wire(again, deadline).SerializeToString()
    assert requests.request_from_bytes(rewritten) == (again, deadline)


@given(asks, spoilt)
def test_a_value_may_be_asked_just_when_its_message_may(request: Request, instead: dict[str, object]):
    asked = replace(request, **instead)  # type: ignore[arg-type]  # of the fields' types, as `spoilt` draws them
    assert is_refused(lambda: allowed.check(asked)) == is_refused(
        lambda: requests.request_from_wire(requests.request_to_wire(asked))
    )


def is_refused(check: Callable[[], object]) -> bool:
    """Whether *check* finds something wrong."""
    try:
        check()
    except InvalidRequest:
        return True
    return False


@pytest.mark.parametrize("field", ["temperature", "top_p", "min_p"])
def test_no_number_is_no_way_to_draw_tokens(field: str):
    message = pb.InferRequest(model="tiny", prompt="x", sampling=pb.Sampling(**{field: math.nan}))
    with pytest.raises(InvalidRequest, match=field):
        requests.request_from_wire(message)


@given(embed_asks, st.none() | moments)
def test_texts_to_embed_survive_the_wire(request: EmbedRequest, deadline: datetime | None):
    body = requests.embed_to_wire(request, deadline).SerializeToString()
    assert requests.embed_from_bytes(body) == (request, deadline)


@given(garbage)
def test_bytes_that_are_no_texts_to_embed_are_an_invalid_request(body: bytes):
    try:
        request, _ = requests.embed_from_bytes(body)
    except InvalidRequest:
        return
    assert request.inputs


@given(deltas)
def test_some_of_an_answer_survives_the_wire(delta: Delta):
    assert answers.event_from_wire(parsed(answers.delta_bytes(delta))) == delta


@given(st.text(max_size=5), st.lists(st.integers(0, 6), min_size=1, max_size=4))
def test_pieces_that_are_not_what_a_delta_is_made_of_are_refused(text: str, lengths: list[int]):
    body = parsed(answers.delta_bytes(Delta(text, piece_lengths=tuple(lengths))))
    if sum(lengths) == len(text) and all(lengths):
        assert len(list(answers.event_from_wire(body).pieces())) == len(lengths)
    else:
        with pytest.raises(ProtocolViolation):
            answers.event_from_wire(body)


def test_a_delta_has_only_so_many_pieces():
    for count in (PIECES_MAX, PIECES_MAX + 1):
        body = parsed(answers.delta_bytes(Delta("x" * count, piece_lengths=(1,) * count)))
        with nullcontext() if count == PIECES_MAX else pytest.raises(ProtocolViolation):
            assert answers.event_from_wire(body) is not None


@given(vectors)
def test_vectors_survive_the_wire(embeddings: Embeddings):
    message = pb.EmbedResponse.FromString(answers.embeddings_bytes(embeddings))
    assert answers.embed_event_from_wire(message) == embeddings


@given(st.data())
def test_what_the_hub_says_reads_alike_for_questions_and_for_texts_to_embed(data: st.DataObject):
    body = data.draw(
        st.one_of(
            starts.map(answers.started_bytes),
            waits.map(answers.waiting_bytes),
            finishes.map(answers.finished_bytes),
        )
    )
    as_answer = answers.event_from_wire(parsed(body))
    assert answers.embed_event_from_wire(pb.EmbedResponse.FromString(body)) == as_answer


@given(load_events)
def test_how_a_load_goes_survives_the_wire(event: LoadEvent):
    assert upkeep.load_event_from_wire(upkeep.load_event_to_wire(event)) == event


@given(pull_events)
def test_how_a_pull_goes_survives_the_wire(event: PullEvent):
    assert upkeep.pull_event_from_wire(upkeep.pull_event_to_wire(event)) == event


@given(uint64s, st.builds(PullStep, step=faults, completed_bytes=uint64s, total_bytes=uint64s))
def test_how_far_a_pull_has_come_survives_the_wire(directive: int, step: PullStep):
    message = upkeep.step_to_wire(directive, step)
    assert (message.id, upkeep.step_from_wire(message)) == (directive, step)


@given(starts)
def test_a_start_survives_the_wire(started: Started):
    assert answers.event_from_wire(parsed(answers.started_bytes(started))) == started


@given(waits)
def test_a_wait_survives_the_wire(waiting: Waiting):
    assert answers.event_from_wire(parsed(answers.waiting_bytes(waiting))) == waiting


@given(finishes)
def test_an_end_survives_the_wire(finished: Finished):
    assert answers.event_from_wire(parsed(answers.finished_bytes(finished))) == finished


def test_an_event_of_a_newer_version_is_none():
    newer = b"\xfa\x01\x00"  # an empty message in field 31
    assert answers.event_from_wire(parsed(newer)) is None


def parsed(body: bytes) -> pb.InferResponse:
    return pb.InferResponse.FromString(body)


@given(usages)
def test_a_usage_survives_the_wire(usage: Usage):
    assert answers.usage_from_wire(answers.usage_to_wire(usage)) == usage


@given(summaries)
def test_a_model_of_the_mesh_survives_the_wire(summary: ModelSummary):
    assert fleet.summary_from_wire(fleet.summary_to_wire(summary)) == summary


@given(spokes)
def test_a_spoke_survives_the_wire(spoke: SpokeStatus):
    assert fleet.spoke_from_wire(fleet.spoke_to_wire(spoke)) == spoke


@given(kinds, some_text, figures)
def test_an_error_survives_a_failed_call(kind: type[MeshError], message: str, given_figures: dict[str, int]):
    error = kind(message, **given_figures)
    trailers = grpc.aio.Metadata(*status.trailers_of(error))
    again = status.error_of(
        grpc.aio.AioRpcError(status.code_of(error), grpc.aio.Metadata(), trailers, message)
    )
    assert (type(again), again.message) == (kind, message)
    assert again.figures == {name: str(value) for name, value in given_figures.items()}


@given(kinds.filter(lambda kind: issubclass(kind, OF_A_SPOKE)), shown_text)
def test_what_a_spoke_may_say_survives_a_stream(kind: type[MeshError], message: str):
    again = status.failure_from_wire(status.failure_to_wire(kind(message)))
    assert (type(again), again.message) == (kind, message)


@given(
    kinds.filter(lambda kind: not issubclass(kind, OF_A_SPOKE)).map(lambda kind: kind.reason) | texts, texts
)
def test_what_a_spoke_may_not_say_is_its_fault(reason: str, message: str):
    error = status.failure_from_wire(types_pb.Failure(reason=reason, message=message))
    assert isinstance(error, EngineProtocol)
    assert error.message.isprintable()


@given(texts.filter(lambda reason: reason not in {kind.reason for kind in STATUS}), some_text)
def test_a_reason_of_a_newer_version_is_kept_in_the_message(reason: str, message: str):
    error = from_reason(reason, message)
    assert isinstance(error, InternalError)
    assert repr(reason) in error.message


@given(st.sampled_from(grpc.StatusCode), garbage)
def test_details_that_are_none_of_ours_leave_an_error_of_ours(code: grpc.StatusCode, details: bytes):
    trailers = grpc.aio.Metadata((status.DETAILS_KEY, details))
    failure = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, "what gRPC said")
    assert isinstance(status.error_of(failure), MeshError)


@given(st.integers(-(10**15), 10**15))
def test_a_duration_survives_the_wire_to_the_nanosecond(nanos: int):
    length_s = nanos / times.NANOS_PER_S
    assert math.isclose(times.seconds(times.duration(length_s)), length_s, rel_tol=0, abs_tol=NANOSECOND)


@given(moments)
def test_a_moment_survives_the_wire(moment: datetime):
    assert times.moment(times.timestamp(moment), "when") == moment


@given(int64s, st.integers(-(1 << 31), (1 << 31) - 1))
def test_a_timestamp_outside_the_calendar_is_an_invalid_request(whole: int, nanos: int):
    message = times.Timestamp(seconds=whole, nanos=nanos)
    try:
        moment = times.moment(message, "deadline")
    except InvalidRequest as error:
        assert "deadline" in error.message  # noqa: PT017  # a moment is as good an outcome
    else:
        assert moment.tzinfo is UTC
