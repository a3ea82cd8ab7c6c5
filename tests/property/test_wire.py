"""What crosses the wire arrives as it left; what is no message becomes our own error, and nothing else."""

import math
from contextlib import suppress
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
    RequestError,
    SessionError,
    SpokeError,
    from_reason,
)
from hubspoke.types import (
    Capability,
    Delta,
    EngineInfo,
    Finished,
    FinishReason,
    Gpu,
    GpuKind,
    HostMemory,
    Inventory,
    Loaded,
    LoadPlan,
    Message,
    Model,
    ModelState,
    ModelSummary,
    Priority,
    Replica,
    Request,
    Sampling,
    Speaker,
    SpokeState,
    SpokeStatus,
    Started,
    Usage,
    Waiting,
)
from hubspoke.wire import fleet, inference, inventory, status, times

NANOSECOND = 1e-9

# Surrogates have no UTF-8, so no protobuf string can hold one.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
some_text = texts.filter(bool)
names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=40)
digests = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)
uint32s = st.integers(0, (1 << 32) - 1)
int64s = st.integers(-(1 << 63), (1 << 63) - 1)
uint64s = st.integers(0, (1 << 64) - 1)
sizes = st.integers(0, inventory.BYTES_MAX)
contexts = st.integers(1, inventory.CONTEXT_TOKENS_MAX)
slots = st.integers(1, inventory.SLOTS_MAX)
faults = texts.filter(str.isprintable)
# In 512ths of a second: whole nanoseconds, and exact as a float. What gets lost beyond that, the durations below show.
seconds = st.integers(0, 10**9).map(lambda parts: parts / 512)
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001  # as Hypothesis wants them
garbage = st.binary(max_size=200)

gpus = st.builds(
    Gpu,
    index=st.integers(0, 63),
    kind=st.sampled_from(GpuKind),
    name=names,
    uuid=st.just("") | names,
    memory_total_bytes=st.none() | uint64s,
    memory_free_bytes=st.none() | uint64s,
    utilisation_percent=st.none() | st.integers(0, 100),
    temperature_celsius=st.none() | st.integers(-50, 150),
    fault=faults,
)
engines = st.builds(
    EngineInfo,
    name=names,
    version=st.just("") | names,
    fault=faults,
    gpus=st.lists(st.integers(0, 63), max_size=4).map(tuple),
)
loaded = st.builds(
    Loaded, slots=slots, context_tokens=contexts, memory_bytes=sizes, vram_bytes=st.none() | uint64s
)
capabilities = st.frozensets(st.sampled_from(Capability), min_size=1)


@st.composite
def models(draw: st.DrawFn) -> Model:
    """Draw a model that is loaded exactly when its state says so."""
    state = draw(st.sampled_from(ModelState))
    return Model(
        engine=draw(names),
        name=draw(names),
        digest=draw(st.just("") | digests),
        size_bytes=draw(sizes),
        family=draw(st.just("") | names),
        quantisation=draw(st.just("") | names),
        parameters=draw(uint64s),
        context_tokens_max=draw(st.just(0) | contexts),
        kv_bytes_per_token=draw(sizes),
        capabilities=draw(capabilities),
        plan=LoadPlan(draw(slots), draw(contexts)),
        state=state,
        loaded=draw(loaded) if state is ModelState.LOADED else None,
    )


inventories = st.builds(
    Inventory,
    memory=st.builds(HostMemory, total_bytes=sizes, available_bytes=sizes),
    gpus=st.lists(gpus, max_size=3).map(tuple),
    engines=st.lists(engines, max_size=3).map(tuple),
    models=st.lists(models(), max_size=3).map(tuple),
)

messages = st.builds(Message, speaker=st.sampled_from(Speaker), text=some_text) | st.just(
    Message(Speaker.ASSISTANT, "")
)
samplings = st.builds(
    Sampling,
    temperature=st.none() | st.floats(0, inference.TEMPERATURE_MAX, width=32),
    top_p=st.none() | st.floats(0, 1, width=32, exclude_min=True),
    top_k=st.none() | st.integers(1, (1 << 32) - 1),
    min_p=st.none() | st.floats(0, 1, width=32),
    seed=st.none() | int64s,
)
stops = st.lists(some_text, max_size=inference.STOPS_MAX).map(tuple)
common = {
    "model": some_text,
    "sampling": samplings,
    "max_output_tokens": uint32s,
    "stop": stops,
    "priority": st.sampled_from(Priority),
    "session_key": texts,
}
requests = st.builds(
    Request, messages=st.lists(messages, min_size=1, max_size=4).map(tuple), **common
) | st.builds(Request, prompt=some_text, **common)
usages = st.builds(
    Usage,
    prompt_tokens=uint32s,
    output_tokens=uint32s,
    cached_tokens=st.none() | uint32s,
    prompt_s=st.none() | seconds,
    decode_s=st.none() | seconds,
)
finishes = st.builds(Finished, reason=st.sampled_from(FinishReason), usage=usages)
starts = st.builds(
    Started,
    spoke=names,
    model=names,
    model_key=names,
    queue_s=seconds,
    attempt=st.integers(1, 1_000),
    also_named=st.lists(names, max_size=3).map(tuple),
)
waits = st.builds(Waiting, spoke=st.none() | names)

replicas = st.builds(
    Replica,
    spoke=names,
    state=st.sampled_from(ModelState),
    slots=uint32s,
    busy=uint32s,
    decode_tokens_per_s=st.none() | st.floats(0, 1e6),
    load_s=st.none() | seconds,
)
summaries = st.builds(
    ModelSummary,
    key=names,
    names=st.lists(names, max_size=3).map(tuple),
    size_bytes=uint64s,
    family=texts,
    quantisation=texts,
    context_tokens_max=uint32s,
    capabilities=st.frozensets(st.sampled_from(Capability)),
    replicas=st.lists(replicas, max_size=3).map(tuple),
)
spokes = st.builds(
    SpokeStatus,
    name=names,
    state=st.sampled_from(SpokeState),
    agent_version=texts,
    registered_at=moments,
    last_seen_at=moments,
    slots=uint32s,
    busy=uint32s,
    inventory=inventories,
    reserved_bytes=uint64s,
)

kinds = st.sampled_from(sorted(STATUS, key=lambda kind: kind.reason))
OF_A_SPOKE = (SpokeError, SessionError, RequestError)
shown_text = some_text.filter(str.isprintable)
figures = st.dictionaries(
    st.from_regex(r"[a-z][a-z_]{0,20}", fullmatch=True).filter(
        lambda name: name not in {"message", "reason"}
    ),
    st.integers(),
    max_size=3,
)


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


@given(requests, st.none() | moments)
def test_a_request_survives_the_wire(request: Request, deadline: datetime | None):
    body = inference.request_to_wire(request, deadline).SerializeToString()
    assert inference.request_from_bytes(body) == (request, deadline)


@given(garbage)
def test_bytes_that_are_no_request_are_an_invalid_one(body: bytes):
    try:
        request, _ = inference.request_from_bytes(body)
    except InvalidRequest:
        return
    assert request.model


@given(requests, st.data())
def test_a_damaged_request_is_an_invalid_one_or_a_request(request: Request, data: st.DataObject):
    whole = inference.request_to_wire(request).SerializeToString()
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 8)))
    damaged = whole[:start] + data.draw(st.binary(max_size=8)) + whole[end:]
    try:
        again, deadline = inference.request_from_bytes(damaged)
    except InvalidRequest:
        return
    rewritten = inference.request_to_wire(again, deadline).SerializeToString()
    assert inference.request_from_bytes(rewritten) == (again, deadline)


@pytest.mark.parametrize("field", ["temperature", "top_p", "min_p"])
def test_no_number_is_no_way_to_draw_tokens(field: str):
    message = pb.InferRequest(model="tiny", prompt="x", sampling=pb.Sampling(**{field: math.nan}))
    with pytest.raises(InvalidRequest, match=field):
        inference.request_from_wire(message)


@given(texts)
def test_text_survives_the_wire(text: str):
    assert inference.event_from_wire(parsed(inference.delta_bytes(text))) == Delta(text, tokens=0)


@given(starts)
def test_a_start_survives_the_wire(started: Started):
    assert inference.event_from_wire(parsed(inference.started_bytes(started))) == started


@given(waits)
def test_a_wait_survives_the_wire(waiting: Waiting):
    assert inference.event_from_wire(parsed(inference.waiting_bytes(waiting))) == waiting


@given(finishes)
def test_an_end_survives_the_wire(finished: Finished):
    assert inference.event_from_wire(parsed(inference.finished_bytes(finished))) == finished


def test_an_event_of_a_newer_version_is_none():
    newer = b"\xfa\x01\x00"  # an empty message in field 31
    assert inference.event_from_wire(parsed(newer)) is None


def parsed(body: bytes) -> pb.InferResponse:
    return pb.InferResponse.FromString(body)


@given(usages)
def test_a_usage_survives_the_wire(usage: Usage):
    assert inference.usage_from_wire(inference.usage_to_wire(usage)) == usage


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
