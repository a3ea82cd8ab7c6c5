"""Apps that use the generated stubs and no SDK: what they send and get, without a server, through grpcio-testing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import grpc_testing
import pytest

from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.api.inference.v1.inference_pb2_grpc import InferenceServiceStub
from hubspoke.errors import UnknownModel
from hubspoke.types import Delta, Finished, FinishReason, ModelKey, SpokeId, Started, Usage
from hubspoke.wire import answers, status

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE = pb.DESCRIPTOR.services_by_name["InferenceService"]
INFER = SERVICE.methods_by_name["Infer"]
WAIT_S = 10.0

EVENTS = (
    answers.started_bytes(Started(SpokeId("den"), "tiny", ModelKey("sha256:ab"), 0.001, 1)),
    answers.delta_bytes(Delta("Paris")),
    answers.finished_bytes(Finished(FinishReason.STOP, Usage(prompt_tokens=3, output_tokens=5))),
)


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_a_synchronous_stub_reads_an_answer_event_by_event(thread: ThreadPoolExecutor) -> None:
    channel = grpc_testing.channel([SERVICE], grpc_testing.strict_real_time())
    request = pb.InferRequest(model="tiny", prompt="capital of france")

    def ask() -> list[object]:
        return [answers.event_from_wire(event) for event in InferenceServiceStub(channel).Infer(request)]

    asked = thread.submit(ask)
    _, received, rpc = channel.take_unary_stream(INFER)
    rpc.send_initial_metadata(())
    for event in EVENTS:
        rpc.send_response(pb.InferResponse.FromString(event))
    rpc.terminate((), grpc.StatusCode.OK, "")
    started, delta, finished = asked.result(WAIT_S)
    assert received == request
    assert isinstance(started, Started)
    assert delta == Delta("Paris", tokens=0)
    assert isinstance(finished, Finished)


def test_a_synchronous_stub_finds_the_reason_of_a_failure_in_the_standard_place(
    thread: ThreadPoolExecutor,
) -> None:
    channel = grpc_testing.channel([SERVICE], grpc_testing.strict_real_time())
    error = UnknownModel("No spoke has 'gpt': there is 'tiny'.")

    def ask() -> object:
        with pytest.raises(grpc.RpcError) as caught:
            list(InferenceServiceStub(channel).Infer(pb.InferRequest(model="gpt", prompt="x")))
        return caught.value

    asked = thread.submit(ask)
    _, _, rpc = channel.take_unary_stream(INFER)
    rpc.send_initial_metadata(())
    rpc.terminate(status.trailers_of(error), status.code_of(error), error.message)
    failure = asked.result(WAIT_S)
    rebuilt = status.error_of(failure)  # type: ignore[arg-type]  # has the same three methods
    assert type(rebuilt) is UnknownModel
    assert rebuilt.message == error.message
